"""Provisions one device with the official Python device SDK and prints what came of it as one line of JSON.

The SDK is used as its documentation says, with one exception: it has no option for the port, so the
connect call of the MQTT library under it is wrapped, and 8883 (443 for WebSocket) becomes the port given
here.

Exit status: 0 the SDK returned a result, 3 the SDK raised, 1 anything else.
"""

import argparse
import base64
import hashlib
import hmac
import json
import os
import sys

import paho.mqtt.client as mqtt
from azure.iot.device import X509, ProvisioningDeviceClient, exceptions

PORTS = {"mqtt": 8883, "mqtt-ws": 443}


def send_to(port, constant):
    """Makes every MQTT/TLS connection of this process go to `port`."""
    connect = mqtt.Client.connect

    def redirected(self, host, **options):
        assert options.get("port") == constant, f"the SDK dialled {options.get('port')}, not {constant}"
        return connect(self, host, **{**options, "port": port})

    mqtt.Client.connect = redirected


def client(options):
    with open(options.trust_root, encoding="ascii") as file:
        trust_root = file.read()
    common = {
        "provisioning_host": options.host,
        "registration_id": options.registration_id,
        "id_scope": options.id_scope,
        "server_verification_cert": trust_root,
        "websockets": options.transport == "mqtt-ws",
    }
    key = derived(options) if options.group_key else options.symmetric_key
    if key:
        return ProvisioningDeviceClient.create_from_symmetric_key(symmetric_key=key, **common)
    x509 = X509(cert_file=options.cert, key_file=options.key)
    return ProvisioningDeviceClient.create_from_x509_certificate(x509=x509, **common)


def derived(options):
    """The device's key, made of the key of its group as the documentation tells device makers to."""
    group_key = base64.b64decode(options.group_key)
    digest = hmac.new(group_key, options.registration_id.encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode("ascii")


def provision(options):
    result = client(options).register()
    state = result.registration_state
    return {
        "status": result.status,
        "operationId": result.operation_id,
        "assignedHub": state.assigned_hub,
        "deviceId": state.device_id,
        "substatus": state.sub_status,
    }


def told(error):
    """The error, and within it what caused it."""
    if error is None:
        return None
    return {"type": type(error).__name__, "text": str(error), "cause": told(error.__cause__)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("host", "id-scope", "registration-id", "trust-root"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("cert", "key", "symmetric-key", "group-key"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--transport", choices=PORTS, required=True)
    options = parser.parse_args()
    send_to(options.port, PORTS[options.transport])
    try:
        print(json.dumps({"result": provision(options)}))
        return 0
    except (exceptions.ClientError, exceptions.ConnectionFailedError, exceptions.CredentialError) as error:
        print(json.dumps({"raised": told(error)}))
        return 3


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    # After a refusal the SDK keeps its connection, and the thread that serves it, to the end of the process.
    os._exit(status)
