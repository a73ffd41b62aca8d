// A program that gets an access token, shows that it is good, uses it, and gives it back.
// usage: token-client.mjs ISSUER CLIENT_ID SECRET basic|post oidc|oauth2 SCOPE API
import dns from 'node:dns';
import { JwtVerifier } from 'aws-jwt-verify';
import * as client from 'openid-client';

// Browsers know that *.localhost is this machine; the C library may not.
const lookup = dns.lookup;
dns.lookup = (host, options, callback) =>
  lookup(host.endsWith('.localhost') ? '127.0.0.1' : host, options, callback);

const [issuer, clientId, secret, method, algorithm, scope, api] = process.argv.slice(2);
const how = method === 'basic' ? client.ClientSecretBasic(secret) : client.ClientSecretPost(secret);
const config = await client.discovery(new URL(issuer), clientId, undefined, how, { algorithm });
const granted = await client.clientCredentialsGrant(config, { scope });
const jwksUri = config.serverMetadata().jwks_uri;
const claims = await JwtVerifier.create({ issuer, audience: null, jwksUri }).verify(granted.access_token);
const call = async () =>
  (await fetch(api, { headers: { authorization: `Bearer ${granted.access_token}` } })).status;
const before = { introspected: await client.tokenIntrospection(config, granted.access_token), status: await call() };
await client.tokenRevocation(config, granted.access_token);
const after = await client.tokenIntrospection(config, granted.access_token);
const begun = Date.now();
while ((await call()) === 200 && Date.now() - begun < 10_000) await new Promise((on) => setTimeout(on, 20));
console.log(JSON.stringify({ granted, claims, before, after, revokedAfter: Date.now() - begun, last: await call() }));
