// What a script says of one call: a line of JSON, and an exit status.
'use strict';

/** Ends the process: 0 and what the call returned, or 3 and what it raised. */
exports.tell = (promise) => {
  promise.then(
    (result) => end({ result: result === undefined ? null : result }, 0),
    (error) => end({ raised: raised(error) }, 3)
  );
};

function raised(error) {
  const { name, message, code, response, responseBody } = error;
  return { type: name, text: message, code, status: response && response.statusCode, body: responseBody };
}

function end(said, status) {
  process.stdout.write(JSON.stringify(said) + '\n', () => process.exit(status));
}
