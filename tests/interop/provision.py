"""Provisions one device with the official Python device SDK and prints what came of it as one line of JSON.

The SDK is used as its documentation says, with one exception: it has no option for the port, so the
connect call of the MQTT library under it is wrapped, and 8883 becomes the port given here.

Exit status: 0 the SDK returned a result, 3 the SDK raised, 1 anything else.
"""

import argparse
import json
import os
import sys

import paho.mqtt.client as mqtt
from azure.iot.device import X509, ProvisioningDeviceClient, exceptions

MQTTS = 8883


def send_to(port):
    """Makes every MQTT/TLS connection of this process go to `port`."""
    connect = mqtt.Client.connect

    def redirected(self, host, **options):
        assert options.get("port") == MQTTS, f"the SDK dialled {options.get('port')}, not {MQTTS}"
        return connect(self, host, **{**options, "port": port})

    mqtt.Client.connect = redirected


def provision(options):
    with open(options.trust_root, encoding="ascii") as file:
        trust_root = file.read()
    client = ProvisioningDeviceClient.create_from_x509_certificate(
        provisioning_host=options.host,
        registration_id=options.registration_id,
        id_scope=options.id_scope,
        x509=X509(cert_file=options.cert, key_file=options.key),
        server_verification_cert=trust_root,
    )
    result = client.register()
    state = result.registration_state
    return {
        "status": result.status,
        "operationId": result.operation_id,
        "assignedHub": state.assigned_hub,
        "deviceId": state.device_id,
        "substatus": state.sub_status,
    }


def causes(error):
    """The error and what caused it, outermost first."""
    while error is not None:
        yield {"type": type(error).__name__, "text": str(error)}
        error = error.__cause__


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("host", "id-scope", "registration-id", "cert", "key", "trust-root"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    send_to(options.port)
    try:
        print(json.dumps(provision(options)))
        return 0
    except (exceptions.ClientError, exceptions.ConnectionFailedError, exceptions.CredentialError) as error:
        print(json.dumps({"raised": list(causes(error))}))
        return 3


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    # After a refusal the SDK keeps its connection, and the thread that serves it, to the end of the process.
    os._exit(status)
