// Calls operations of Cognito's API with the AWS SDK for JavaScript, order by order: a line of JSON each.
// usage: aws-errors.mjs v2|v3 ENDPOINT REGION ACCESS_KEY_ID SECRET_ACCESS_KEY
// An order is { operation, parameters, unsigned }. The answer is { ok } or { error, message, status, typed }: whether the
// error is one of the SDK's own for it; { missing: true } for an operation that the SDK lacks. Version 2 has a single
// class, and a code that is the name of the exception.
import dns from 'node:dns';
import { createRequire } from 'node:module';
import readline from 'node:readline';

// Browsers know that *.localhost is this machine; the C library may not.
const lookup = dns.lookup;
dns.lookup = (host, options, callback) =>
  lookup(host.endsWith('.localhost') ? '127.0.0.1' : host, options, callback);

const [version, endpoint, region, accessKeyId, secretAccessKey] = process.argv.slice(2);
const credentials = { accessKeyId, secretAccessKey };

function version2() {
  const require = createRequire(import.meta.url);
  require('aws-sdk/lib/maintenance_mode_message').suppress = true;
  const { CognitoIdentityServiceProvider } = require('aws-sdk');
  const client = new CognitoIdentityServiceProvider({ endpoint, region, ...credentials, maxRetries: 0 });
  const nameOf = (operation) => operation[0].toLowerCase() + operation.slice(1);
  return {
    has: (operation) => nameOf(operation) in client,
    call: (operation, parameters, unsigned) => {
      const name = nameOf(operation);
      const request = unsigned ? client.makeUnauthenticatedRequest(name, parameters) : client[name](parameters);
      return request.promise();
    },
    describe: (error) => ({
      error: error.code,
      status: error.statusCode,
      typed: error.name === error.code && error instanceof Error && Boolean(error.requestId),
    }),
  };
}

async function version3() {
  const sdk = await import('@aws-sdk/client-cognito-identity-provider');
  const client = new sdk.CognitoIdentityProviderClient({ endpoint, region, credentials, maxAttempts: 1 });
  return {
    has: (operation) => `${operation}Command` in sdk,
    call: (operation, parameters) => client.send(new sdk[`${operation}Command`](parameters)),
    describe: (error) => ({
      error: error.name,
      status: error.$metadata?.httpStatusCode,
      typed: sdk[error.name] !== undefined && error instanceof sdk[error.name],
    }),
  };
}

const { has, call, describe } = version === 'v2' ? version2() : await version3();
for await (const line of readline.createInterface({ input: process.stdin })) {
  const { operation, parameters, unsigned } = JSON.parse(line);
  let answer = { missing: true };
  if (has(operation)) try {
    const { $metadata, ...ok } = await call(operation, parameters, unsigned);
    answer = { ok };
  } catch (error) {
    answer = { ...describe(error), message: error.message };
  }
  console.log(JSON.stringify(answer));
}
