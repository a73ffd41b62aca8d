// Signs users up and in with one of AWS's libraries, order by order: a line of JSON each.
// usage: cognito-client.mjs LIBRARY CONFIG
import dns from 'node:dns';
import readline from 'node:readline';
import { open } from './cognito-libraries.mjs';

// Browsers know that *.localhost is this machine; the C library may not.
const lookup = dns.lookup;
dns.lookup = (host, options, callback) =>
  lookup(host.endsWith('.localhost') ? '127.0.0.1' : host, options, callback);

const [library, text] = process.argv.slice(2);
const run = open(library, JSON.parse(text));
for await (const line of readline.createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await run(JSON.parse(line))));
}
