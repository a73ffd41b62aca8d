// Signs a user in with a client library of OpenID Connect, order by order: a line of JSON each. The user's browser is
// elsewhere: an order answers the address to open, or takes the one that the browser was sent back to.
// usage: oauth-client.mjs openid-client|oauth4webapi CONFIG
import dns from 'node:dns';
import readline from 'node:readline';
import { JwtVerifier } from 'aws-jwt-verify';
import { validateCognitoJwtFields } from 'aws-jwt-verify/cognito-verifier';
import * as oauth from 'oauth4webapi';
import * as openid from 'openid-client';

// Browsers know that *.localhost is this machine; the C library may not.
const lookup = dns.lookup;
dns.lookup = (host, options, callback) =>
  lookup(host.endsWith('.localhost') ? '127.0.0.1' : host, options, callback);

const tokensOf = ({ id_token, access_token, scope }) => ({ id: id_token, access: access_token, scope });

// openid-client 6, as a confidential client.
async function openidClient({ issuer, clientId, secret, algorithm, redirectUri, signedOut, scope, pushed }) {
  const metadata = { id_token_signed_response_alg: algorithm, client_secret: secret };
  const config = await openid.discovery(new URL(issuer), clientId, metadata, openid.ClientSecretBasic(secret));
  let checks, tokens;
  return {
    authorize: async () => {
      checks = {
        pkceCodeVerifier: openid.randomPKCECodeVerifier(),
        expectedState: openid.randomState(),
        expectedNonce: openid.randomNonce(),
        idTokenExpected: true,
        maxAge: 3600,
      };
      const build = pushed ? openid.buildAuthorizationUrlWithPAR : openid.buildAuthorizationUrl;
      const url = await build(config, {
        redirect_uri: redirectUri,
        scope,
        state: checks.expectedState,
        nonce: checks.expectedNonce,
        max_age: '3600',
        code_challenge: await openid.calculatePKCECodeChallenge(checks.pkceCodeVerifier),
        code_challenge_method: 'S256',
      });
      return url.href;
    },
    callback: async ({ url }) => {
      tokens = await openid.authorizationCodeGrant(config, new URL(url), checks);
      return { ...tokensOf(tokens), claims: tokens.claims() };
    },
    userInfo: () => openid.fetchUserInfo(config, tokens.access_token, tokens.claims().sub),
    refresh: async () => {
      const refreshed = await openid.refreshTokenGrant(config, tokens.refresh_token);
      const claims = refreshed.claims();
      tokens = { ...tokens, ...refreshed };
      return { ...tokensOf(refreshed), claims };
    },
    revoke: () => openid.tokenRevocation(config, tokens.refresh_token),
    signOut: () =>
      openid.buildEndSessionUrl(config, {
        id_token_hint: tokens.id_token,
        post_logout_redirect_uri: signedOut,
        state: 'bye',
      }).href,
  };
}

// oauth4webapi, as a public client.
async function oauth4webapi({ issuer, clientId, algorithm, redirectUri, signedOut, scope, pushed }) {
  const of = new URL(issuer);
  const server = await oauth.processDiscoveryResponse(of, await oauth.discoveryRequest(of));
  const client = { client_id: clientId, id_token_signed_response_alg: algorithm };
  let verifier, state, nonce, tokens, claims;
  return {
    authorize: async () => {
      verifier = oauth.generateRandomCodeVerifier();
      [state, nonce] = [oauth.generateRandomState(), oauth.generateRandomNonce()];
      const url = new URL(server.authorization_endpoint);
      const parameters = {
        client_id: clientId, redirect_uri: redirectUri, response_type: 'code', scope, state, nonce,
        code_challenge: await oauth.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
      };
      if (pushed) {
        const response = await oauth.pushedAuthorizationRequest(
          server, client, oauth.None(), new URLSearchParams(parameters),
        );
        const { request_uri } = await oauth.processPushedAuthorizationResponse(server, client, response);
        url.searchParams.set('client_id', clientId);
        url.searchParams.set('request_uri', request_uri);
        return url.href;
      }
      for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
      return url.href;
    },
    callback: async ({ url }) => {
      const parameters = oauth.validateAuthResponse(server, client, new URL(url), state);
      const response = await oauth.authorizationCodeGrantRequest(
        server, client, oauth.None(), parameters, redirectUri, verifier,
      );
      tokens = await oauth.processAuthorizationCodeResponse(server, client, response, {
        expectedNonce: nonce, requireIdToken: true,
      });
      // By default it trusts the connection; this checks the signature, too.
      await oauth.validateApplicationLevelSignature(server, response);
      claims = oauth.getValidatedIdTokenClaims(tokens);
      return { ...tokensOf(tokens), claims };
    },
    userInfo: async () => {
      const response = await oauth.userInfoRequest(server, client, tokens.access_token);
      return oauth.processUserInfoResponse(server, client, claims.sub, response);
    },
    refresh: async () => {
      const response = await oauth.refreshTokenGrantRequest(server, client, oauth.None(), tokens.refresh_token);
      const refreshed = await oauth.processRefreshTokenResponse(server, client, response);
      tokens = { ...tokens, ...refreshed };
      return { ...tokensOf(refreshed), claims: oauth.getValidatedIdTokenClaims(refreshed) };
    },
    revoke: async () =>
      oauth.processRevocationResponse(
        await oauth.revocationRequest(server, client, oauth.None(), tokens.refresh_token),
      ),
    signOut: () => {
      const url = new URL(server.end_session_endpoint);
      const parameters = { id_token_hint: tokens.id_token, post_logout_redirect_uri: signedOut, state: 'bye' };
      for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
      return url.href;
    },
  };
}

// aws-jwt-verify, with the checks of its verifier for Cognito: `token_use`, `client_id` and `aud`.
const verify = ({ issuer, clientId }, { token, use }) =>
  JwtVerifier.create({
    issuer,
    audience: null,
    jwksUri: `${issuer}/.well-known/jwks.json`,
    customJwtCheck: ({ payload }) => validateCognitoJwtFields(payload, { tokenUse: use, clientId }),
  }).verify(token);

const [library, text] = process.argv.slice(2);
const config = JSON.parse(text);
const operations = await { 'openid-client': openidClient, oauth4webapi }[library](config);
operations.verify = (order) => verify(config, order);
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
