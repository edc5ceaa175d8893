"""Makes one call on CA certificates with the official Python management SDK, and prints the answer as one
line of JSON.

Serves both lines of the SDK: 1.x takes an etag as it is to be sent, 2.x takes it with a match condition.
Everything goes to the resource manager at the endpoint given here.

Exit status: 0 the SDK returned a result, 3 the SDK raised, 1 anything else.
"""

import argparse
import base64
import json
import sys
import time

from azure.core import MatchConditions
from azure.core.credentials import AccessToken, AccessTokenInfo
from azure.core.exceptions import HttpResponseError
from azure.mgmt.iothubprovisioningservices import IotDpsClient, __version__, models

SUBSCRIPTION = "00000000-0000-0000-0000-000000000000"
GROUP = "group"
SERVICE = "service"


class AnyToken:
    """A credential that has a token for everybody."""

    def get_token(self, *_scopes, **_options):
        return AccessToken("any", int(time.time()) + 3600)

    def get_token_info(self, *_scopes, **_options):
        return AccessTokenInfo("any", int(time.time()) + 3600)


class Certificates1:
    """The calls of 1.x."""

    def __init__(self, operations):
        self.operations = operations

    def where(self, name, etag=None):
        where = {"resource_group_name": GROUP, "provisioning_service_name": SERVICE, "certificate_name": name}
        return {**where, "if_match": etag} if etag else where

    def create(self, name, content, etag):
        body = models.CertificateBodyDescription(certificate=encoded(content))
        return self.operations.create_or_update(certificate_description=body, **self.where(name, etag))

    def show(self, name):
        return self.operations.get(**self.where(name))

    def list(self):
        return self.operations.list(GROUP, SERVICE)

    def code(self, name, etag):
        return self.operations.generate_verification_code(**self.where(name, etag))

    def verify(self, name, content, etag):
        request = models.VerificationCodeRequest(certificate=encoded(content))
        return self.operations.verify_certificate(request=request, **self.where(name, etag))

    def delete(self, name, etag):
        return self.operations.delete(**self.where(name, etag))


class Certificates2(Certificates1):
    """The calls of 2.x: the same but for how they take an etag, and what they take to create."""

    def where(self, name, etag=None):
        where = super().where(name)
        return {**where, "etag": etag, "match_condition": MatchConditions.IfNotModified} if etag else where

    def create(self, name, content, etag):
        body = models.CertificateResponse(properties=models.CertificateProperties(certificate=content))
        return self.operations.create_or_update(certificate_description=body, **self.where(name, etag))


def encoded(content):
    return base64.b64encode(content).decode("ascii")


def call(options):
    client = IotDpsClient(
        AnyToken(), SUBSCRIPTION, base_url=options.endpoint, connection_verify=options.trust_root
    )
    lines = {"1": Certificates1, "2": Certificates2}
    certificates = lines[__version__.split(".")[0]](client.dps_certificate)
    arguments = [options.name] if options.name else []
    if options.certificate:
        with open(options.certificate, "rb") as file:
            arguments.append(file.read())
    if options.verb not in ("show", "list"):
        arguments.append(options.etag)
    return getattr(certificates, options.verb)(*arguments)


def told(result):
    """What the SDK made of the answer, in the names of the wire."""
    if result is None:
        return None
    if isinstance(result, (models.CertificateResponse, models.VerificationCodeResponse)):
        properties = result.properties
        return {
            "name": result.name,
            "etag": result.etag,
            "type": result.type,
            "subject": properties.subject,
            "thumbprint": properties.thumbprint,
            "expiry": str(properties.expiry),
            "isVerified": properties.is_verified,
            "verificationCode": getattr(properties, "verification_code", None),
        }
    return [told(certificate) for certificate in result.value]


def told_of(error):
    return {
        "type": type(error).__name__,
        "status": error.status_code,
        "code": error.error.code if error.error else None,
        "text": error.message,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("verb", choices=("create", "show", "list", "code", "verify", "delete"))
    parser.add_argument("name", nargs="?")
    for name in ("endpoint", "trust-root"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("certificate", "etag"):
        parser.add_argument(f"--{name}")
    options = parser.parse_args()
    try:
        print(json.dumps({"result": told(call(options))}))
        return 0
    except HttpResponseError as error:
        print(json.dumps({"raised": told_of(error)}))
        return 3


if __name__ == "__main__":
    sys.exit(main())
