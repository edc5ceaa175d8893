// Provisions one device with the official Node.js device SDK and prints what came of it as one line of JSON.
//
// The SDK is used as its documentation says, with one exception: it has no option for the port, so the
// connect call of the TLS library under it is wrapped, and 8883 (443 for WebSocket and HTTPS) becomes the
// port given here. The trust root comes by NODE_EXTRA_CA_CERTS.
//
// Exit status: 0 the SDK returned a result, 3 the SDK raised, 1 anything else.
'use strict';

const crypto = require('crypto');
const fs = require('fs');
const { parseArgs } = require('util');
const { ProvisioningDeviceClient } = require('azure-iot-provisioning-device');
const { Http } = require('azure-iot-provisioning-device-http');
const { Mqtt, MqttWs } = require('azure-iot-provisioning-device-mqtt');
const { SymmetricKeySecurityClient } = require('azure-iot-security-symmetric-key');
const { X509Security } = require('azure-iot-security-x509');
const { tell } = require('./outcome');
const { sendTo } = require('./port');

const TRANSPORTS = {
  mqtt: { Transport: Mqtt, port: 8883 },
  'mqtt-ws': { Transport: MqttWs, port: 443 },
  https: { Transport: Http, port: 443 },
};

const NAMES = ['host', 'port', 'id-scope', 'registration-id', 'transport'];
const CREDENTIALS = ['cert', 'key', 'symmetric-key', 'group-key'];
const { values: options } = parseArgs({
  options: Object.fromEntries([...NAMES, ...CREDENTIALS].map((name) => [name, { type: 'string' }])),
});
const { Transport, port } = TRANSPORTS[options.transport];
sendTo(Number(options.port), port);

const { host, 'id-scope': idScope } = options;
tell(ProvisioningDeviceClient.create(host, idScope, new Transport(), security()).register());

function security() {
  const id = options['registration-id'];
  const symmetricKey = options['group-key'] ? derived(options['group-key'], id) : options['symmetric-key'];
  if (symmetricKey) {
    return new SymmetricKeySecurityClient(id, symmetricKey);
  }
  const text = (name) => fs.readFileSync(options[name], 'ascii');
  return new X509Security(id, { cert: text('cert'), key: text('key') });
}

/** The device's key, made of the key of its group as the documentation tells device makers to. */
function derived(groupKey, id) {
  return crypto.createHmac('sha256', Buffer.from(groupKey, 'base64')).update(id, 'utf8').digest('base64');
}
