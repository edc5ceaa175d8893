// The SDKs have constants for ports and no option for them.
'use strict';

const tls = require('tls');

/** Makes every TLS connection of this process that was meant for the port `constant` go to `port`. */
exports.sendTo = (port, constant) => {
  const connect = tls.connect;
  tls.connect = (options, ...rest) => {
    if (Number(options.port) !== constant) {
      throw new Error(`the SDK dialled ${options.port}, not ${constant}`);
    }
    return connect.call(tls, { ...options, port }, ...rest);
  };
};
