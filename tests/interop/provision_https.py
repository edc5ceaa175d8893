"""Provisions one device over HTTPS with the standard library alone, and prints every answer as one line of JSON.

A device attests by certificate (`--cert`, `--key`) or by symmetric key: `--symmetric-key` is used as it is, and with
`--derive` as the key of a group from which the device's own follows.

Also the home of the few calls that `kill_rounds.py` needs.

Exit status: 0 the service answered, whatever it said; 1 anything else.
"""

import argparse
import base64
import hashlib
import hmac
import http.client
import json
import ssl
import time
import urllib.parse

API_VERSION = "2021-10-01"
LIFETIME = 3600


def token(key, resource, policy):
    """A shared access signature of `resource`, with `key` in base64."""
    uri, expiry = urllib.parse.quote(resource, safe=""), int(time.time()) + LIFETIME
    signed = hmac.new(base64.b64decode(key), f"{uri}\n{expiry}".encode(), hashlib.sha256).digest()
    signature = urllib.parse.quote(base64.b64encode(signed), safe="")
    return f"SharedAccessSignature sr={uri}&sig={signature}&se={expiry}&skn={policy}"


def derived(group_key, registration_id):
    """The key of one device of a symmetric-key group."""
    digest = hmac.new(base64.b64decode(group_key), registration_id.encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def trust(root, cert=None, key=None):
    context = ssl.create_default_context(cafile=root)
    if cert is not None:
        context.load_cert_chain(cert, key)
    return context


class Connection:
    """One kept-alive HTTPS connection that sends the same headers with every call."""

    def __init__(self, port, context, **headers):
        self.http = http.client.HTTPSConnection("localhost", port, context=context, timeout=60)
        self.headers = {"Content-Type": "application/json; charset=utf-8", **headers}

    def call(self, method, path, document=None, api_version=API_VERSION, **headers):
        """Status, headers and body of the answer, after all of it was read."""
        body = None if document is None else json.dumps(document)
        self.http.request(method, f"{path}?api-version={api_version}", body, {**self.headers, **headers})
        answer = self.http.getresponse()
        text = answer.read()
        try:
            document = json.loads(text) if text else None
        except ValueError:
            document = text.decode(errors="replace")
        return answer.status, answer.headers, document


class Device:
    """A device of `scope` that speaks over `connection`."""

    def __init__(self, connection, scope, registration_id, key=None):
        self.connection, self.registration_id = connection, registration_id
        self.path = f"/{scope}/registrations/{registration_id}"
        resource = f"{scope}/registrations/{registration_id}"
        self.headers = {} if key is None else {"Authorization": token(key, resource, "registration")}

    def register(self, payload=None):
        document = {"registrationId": self.registration_id}
        if payload is not None:
            document["payload"] = payload
        return self.connection.call("PUT", f"{self.path}/register", document, **self.headers)

    def poll(self, operation):
        return self.connection.call("GET", f"{self.path}/operations/{operation}", **self.headers)

    def provision(self, payload=None):
        """Registers and polls to the end; yields every answer."""
        status, headers, body = self.register(payload)
        yield status, headers, body
        operation = body.get("operationId") if status == 202 else None
        while status == 202:
            time.sleep(int(headers.get("Retry-After", 0)))
            status, headers, body = self.poll(operation)
            yield status, headers, body


def answers(options):
    context = trust(options.trust_root, options.cert, options.key)
    connection = Connection(options.port, context)
    key = options.symmetric_key
    if key is not None and options.derive:
        key = derived(key, options.registration_id)
    device = Device(connection, options.id_scope, options.registration_id, key)
    if options.polls is None:
        yield from device.provision(options.payload)
        return
    status, headers, body = device.register(options.payload)
    yield status, headers, body
    for _ in range(options.polls):
        yield device.poll(body["operationId"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("id-scope", "registration-id", "trust-root"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--port", type=int, required=True)
    for name in ("cert", "key", "symmetric-key"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--derive", action="store_true")
    parser.add_argument("--payload", type=json.loads)
    parser.add_argument("--polls", type=int, help="poll this often, at once, whatever is answered")
    options = parser.parse_args()
    told = [
        {"status": status, "retry_after": headers.get("Retry-After"), "body": body}
        for status, headers, body in answers(options)
    ]
    print(json.dumps(told))


if __name__ == "__main__":
    main()
