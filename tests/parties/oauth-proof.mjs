// A client that proves its keys: client assertions with a private key (private_key_jwt) and tokens that are bound to a key
// (DPoP), order by order: a line of JSON each.
// usage: oauth-proof.mjs openid-client|oauth4webapi CONFIG
import dns from 'node:dns';
import readline from 'node:readline';
import * as oauth from 'oauth4webapi';
import * as openid from 'openid-client';

// Browsers know that *.localhost is this machine; the C library may not.
const lookup = dns.lookup;
dns.lookup = (host, options, callback) =>
  lookup(host.endsWith('.localhost') ? '127.0.0.1' : host, options, callback);

const { subtle } = globalThis.crypto;
const kinds = {
  ES256: { name: 'ECDSA', namedCurve: 'P-256' },
  RS256: { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' },
  PS256: { name: 'RSA-PSS', hash: 'SHA-256' },
};
const privateKey = ({ jwk, alg }) => subtle.importKey('jwk', jwk, kinds[alg], false, ['sign']);

async function openidClient({ issuer, clientId, clientKey, redirectUri, scope, dpop }) {
  const how = clientKey ? openid.PrivateKeyJwt(await privateKey(clientKey)) : openid.None();
  const config = await openid.discovery(new URL(issuer), clientId, undefined, how);
  const pair = await openid.randomDPoPKeyPair(dpop ?? 'ES256');
  const options = dpop ? { DPoP: openid.getDPoPHandle(config, pair) } : undefined;
  let checks, tokens;
  return {
    authorize: async () => {
      const pkceCodeVerifier = openid.randomPKCECodeVerifier();
      checks = { pkceCodeVerifier, expectedState: openid.randomState() };
      return openid.buildAuthorizationUrl(config, {
        redirect_uri: redirectUri, scope, state: checks.expectedState,
        code_challenge: await openid.calculatePKCECodeChallenge(pkceCodeVerifier), code_challenge_method: 'S256',
        ...(dpop && { dpop_jkt: await options.DPoP.calculateThumbprint() }),
      }).href;
    },
    callback: async ({ url }) => (tokens = await openid.authorizationCodeGrant(config, new URL(url), checks, {}, options)),
    program: async ({ scope: asked }) => (tokens = await openid.clientCredentialsGrant(config, { scope: asked }, options)),
    refresh: async () =>
      (tokens = { ...tokens, ...(await openid.refreshTokenGrant(config, tokens.refresh_token, {}, options)) }),
    userInfo: () => openid.fetchUserInfo(config, tokens.access_token, openid.skipSubjectCheck, options),
    call: async ({ url, method }) =>
      (await openid.fetchProtectedResource(config, tokens.access_token, new URL(url), method, null, undefined, options)).status,
    introspect: () => openid.tokenIntrospection(config, tokens.access_token),
    revoke: () => openid.tokenRevocation(config, tokens.access_token),
  };
}

async function oauth4webapi({ issuer, clientId, clientKey, redirectUri, scope, dpop }) {
  const of = new URL(issuer);
  const server = await oauth.processDiscoveryResponse(of, await oauth.discoveryRequest(of));
  const client = { client_id: clientId };
  const how = clientKey ? oauth.PrivateKeyJwt(await privateKey(clientKey)) : oauth.None();
  const pair = await oauth.generateKeyPair(dpop ?? 'ES256');
  const options = dpop ? { DPoP: oauth.DPoP(client, pair) } : {};
  let verifier, state, tokens;
  return {
    authorize: async () => {
      [verifier, state] = [oauth.generateRandomCodeVerifier(), oauth.generateRandomState()];
      const url = new URL(server.authorization_endpoint);
      const parameters = {
        client_id: clientId, redirect_uri: redirectUri, response_type: 'code', scope, state,
        code_challenge: await oauth.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
        ...(dpop && { dpop_jkt: await options.DPoP.calculateThumbprint() }),
      };
      for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
      return url.href;
    },
    callback: async ({ url }) => {
      const parameters = oauth.validateAuthResponse(server, client, new URL(url), state);
      const response = await oauth.authorizationCodeGrantRequest(
        server, client, how, parameters, redirectUri, verifier, options,
      );
      return (tokens = await oauth.processAuthorizationCodeResponse(server, client, response));
    },
    program: async ({ scope: asked }) => {
      const response = await oauth.clientCredentialsGrantRequest(server, client, how, { scope: asked }, options);
      return (tokens = await oauth.processClientCredentialsResponse(server, client, response));
    },
    refresh: async () => {
      const response = await oauth.refreshTokenGrantRequest(server, client, how, tokens.refresh_token, options);
      return (tokens = { ...tokens, ...(await oauth.processRefreshTokenResponse(server, client, response)) });
    },
    userInfo: async () => {
      const response = await oauth.userInfoRequest(server, client, tokens.access_token, options);
      return oauth.processUserInfoResponse(server, client, oauth.skipSubjectCheck, response);
    },
    call: async ({ url, method }) =>
      (await oauth.protectedResourceRequest(tokens.access_token, method, new URL(url), undefined, null, options)).status,
    introspect: async () =>
      oauth.processIntrospectionResponse(
        server, client, await oauth.introspectionRequest(server, client, how, tokens.access_token),
      ),
    revoke: async () =>
      oauth.processRevocationResponse(await oauth.revocationRequest(server, client, how, tokens.access_token)),
  };
}

const [library, text] = process.argv.slice(2);
const operations = await { 'openid-client': openidClient, oauth4webapi }[library](JSON.parse(text));
for await (const line of readline.createInterface({ input: process.stdin })) {
  const { do: name, ...order } = JSON.parse(line);
  let answer;
  try {
    answer = { ok: (await operations[name](order)) ?? null };
  } catch (error) {
    answer = { error: error.error ?? error.code ?? error.name, message: `${error.message} ${error.cause ?? ''}` };
  }
  console.log(JSON.stringify(answer));
}
