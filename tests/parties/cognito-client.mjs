// Signs users up and in with one of AWS's libraries, order by order: a line of JSON each.
// usage: cognito-client.mjs LIBRARY CONFIG
import dns from 'node:dns';
import readline from 'node:readline';
import { JwtVerifier } from 'aws-jwt-verify';
import { open } from './cognito-libraries.mjs';

// Browsers know that *.localhost is this machine; the C library may not.
const lookup = dns.lookup;
dns.lookup = (host, options, callback) =>
  lookup(host.endsWith('.localhost') ? '127.0.0.1' : host, options, callback);

const [library, text] = process.argv.slice(2);
const config = JSON.parse(text);
const run = open(library, config);
// aws-jwt-verify: both kinds of tokens, by the pool's own key set.
const verify = async ({ token, use }) => {
  const issuer = `${config.endpoint.replace(/\/$/, '')}/${config.poolId}`;
  const verifier = JwtVerifier.create({ issuer, audience: use === 'id' ? config.clientId : null, jwksUri: `${issuer}/.well-known/jwks.json` });
  try {
    return { ok: await verifier.verify(token) };
  } catch (error) {
    return { error: error.name, message: error.message };
  }
};
for await (const line of readline.createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  console.log(JSON.stringify(order.do === 'verify' ? await verify(order) : await run(order)));
}
