// Signs a user in with Auth.js and its provider for Cognito, order by order: a line of JSON each.
// usage: auth-js.mjs CONFIG
import dns from 'node:dns';
import readline from 'node:readline';
import { Auth } from '@auth/core';
import Cognito from '@auth/core/providers/cognito';

// Browsers know that *.localhost is this machine; the C library may not.
const lookup = dns.lookup;
dns.lookup = (host, options, callback) =>
  lookup(host.endsWith('.localhost') ? '127.0.0.1' : host, options, callback);

const { issuer, clientId, secret, redirectUri } = JSON.parse(process.argv[2]);
const app = new URL(redirectUri).origin;
const config = {
  providers: [Cognito({ clientId, clientSecret: secret, issuer })],
  secret: 'a-secret-of-the-app-that-seals-its-cookies',
  trustHost: true,
  basePath: '/auth',
  // The app's own log; its errors are in the answers.
  logger: { error: () => {}, warn: () => {}, debug: () => {} },
};
// The cookies of the app.
const cookies = new Map();

async function send(url, form) {
  const headers = { cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join('; ') };
  const request = new Request(new URL(url, app), {
    headers,
    ...(form && { method: 'POST', body: new URLSearchParams(form) }),
  });
  const response = await Auth(request, config);
  for (const cookie of response.headers.getSetCookie()) {
    const [, name, value] = cookie.match(/^([^=]+)=([^;]*)/);
    value ? cookies.set(name, value) : cookies.delete(name);
  }
  return response;
}

const orders = {
  authorize: async () => {
    const { csrfToken } = await (await send('/auth/csrf')).json();
    const response = await send('/auth/signin/cognito', { csrfToken, callbackUrl: `${app}/home` });
    return response.headers.get('location');
  },
  callback: async ({ url }) => {
    const location = (await send(url)).headers.get('location');
    if (location !== `${app}/home`) throw new Error(location);
    return location;
  },
  session: async () => (await send('/auth/session')).json(),
};

for await (const line of readline.createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  let answer;
  try {
    answer = { ok: (await orders[order.do](order)) ?? null };
  } catch (error) {
    answer = { error: error.code ?? error.name, message: error.message };
  }
  console.log(JSON.stringify(answer));
}
