// Makes one call with the official Node.js service SDK and prints the answer as one line of JSON.
//
//     node service.js PORT CONNECTION_STRING METHOD ARGUMENTS
//
// METHOD is a method of the SDK's client and ARGUMENTS a JSON array of what it takes. For a method that makes
// a query, the answer is the array of all its pages. The SDK does not understand a port in the connection
// string, so the connect call of the TLS library under it is wrapped, and 443 becomes PORT. The trust root
// comes by NODE_EXTRA_CA_CERTS.
//
// Exit status: 0 the SDK returned a result, 3 the SDK raised, 1 anything else.
'use strict';

const { ProvisioningServiceClient } = require('azure-iot-provisioning-service');
const { tell } = require('./outcome');
const { sendTo } = require('./port');

const HTTPS = 443;

const [port, connectionString, method, json] = process.argv.slice(2);
const given = JSON.parse(json);
sendTo(Number(port), HTTPS);

const client = ProvisioningServiceClient.fromConnectionString(connectionString);
tell(method.endsWith('Query') ? pages(client[method](...given)) : answer());

// Not by the SDK's own promises: the one for bulk operations is never kept.
function answer() {
  return new Promise((resolve, reject) => {
    client[method](...given, (error, result) => (error ? reject(error) : resolve(result)));
  });
}

async function pages(query) {
  const pages = [];
  while (query.hasMoreResults) {
    // Without its argument the SDK asks for the first page for ever.
    pages.push((await query.next(query.continuationToken)).responseBody);
  }
  return pages;
}
