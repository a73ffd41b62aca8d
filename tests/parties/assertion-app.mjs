// An app that was written for an Application Load Balancer: it believes the assertion alone, which
// AWS's own library verifies. usage: assertion-app.mjs PORT PUBLIC_URL SIGNER CLIENT AUDIENCE
import dns from 'node:dns';
import http from 'node:http';
import { AlbJwtVerifier, JwtVerifier } from 'aws-jwt-verify';

// Browsers know that *.localhost is this machine; the C library may not.
const lookup = dns.lookup;
dns.lookup = (host, options, callback) =>
  lookup(host.endsWith('.localhost') ? '127.0.0.1' : host, options, callback);

const [port, issuer, albArn, clientId, audience] = process.argv.slice(2);
const balancer = AlbJwtVerifier.create({ albArn, issuer, clientId, jwksUri: `${issuer}/public-keys` });
const keySet = JwtVerifier.create({ issuer, audience, jwksUri: `${issuer}/.well-known/jwks.json` });

http.createServer(async (request, response) => {
  try {
    const token = request.headers['x-amzn-oidc-data'];
    const byPem = await balancer.verify(token);
    const byKeySet = await keySet.verify(token);
    response.end(JSON.stringify({ byPem: byPem.email, byKeySet: byKeySet.email, sub: byPem.sub }));
  } catch (error) {
    response.statusCode = 403;
    response.end(String(error));
  }
}).listen(Number(port), '127.0.0.1', () => console.log('ready'));
process.stdin.on('end', () => process.exit(0)).resume();
