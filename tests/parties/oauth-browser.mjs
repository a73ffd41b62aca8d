// Client libraries of an app in a browser. Its page is loaded anew after each redirect, as that of a real app is.
import { Amplify } from 'aws-amplify';
import * as auth from 'aws-amplify/auth';
import 'aws-amplify/auth/enable-oauth-listener';
import { Hub } from 'aws-amplify/utils';
import { UserManager, WebStorageStateStore } from 'oidc-client-ts';

// In the frame of a silent sign-in, the page only hands its address to the page around it.
if (window.parent !== window) {
  new UserManager({ authority: 'none', client_id: 'none', redirect_uri: 'none' }).signinSilentCallback();
}

// oidc-client-ts, which reads its metadata, verifies `state`, `nonce` and the rest, and stores the user.
function oidcClientTs({ issuer, clientId, app, scope }) {
  const manager = new UserManager({
    authority: issuer, client_id: clientId, redirect_uri: app, post_logout_redirect_uri: app, scope,
    response_type: 'code', loadUserInfo: true, userStore: new WebStorageStateStore({ store: localStorage }),
  });
  const shown = (user) => ({ id: user.id_token, access: user.access_token, scope: user.scope, claims: user.profile });
  return {
    leave: ({ nonce }) => manager.signinRedirect({ nonce, extraQueryParams: { lang: 'en' } }),
    arrive: async () => shown(await manager.signinRedirectCallback()),
    refresh: async () => shown(await manager.signinSilent()),
    revoke: () => manager.revokeTokens(['refresh_token']),
    // Without a refresh token, it asks in a frame with `prompt=none`.
    silent: async () => shown(await manager.signinSilent()),
    signOut: () => manager.signoutRedirect({ state: 'bye' }),
    signedOut: async () => {
      await manager.signoutRedirectCallback();
      return (await manager.getUser()) === null;
    },
  };
}

// aws-amplify, with the sign-in on the pool's own pages. It completes the sign-in as soon as it is configured.
function amplify({ endpoint, poolId, clientId, app, scope }) {
  const ended = new Promise((resolve, reject) =>
    Hub.listen('auth', ({ payload }) => {
      if (payload.event === 'signInWithRedirect') resolve();
      if (payload.event === 'signInWithRedirect_failure') reject(payload.data.error);
    }));
  // Nobody may ask for it.
  ended.catch(() => {});
  const oauth = {
    domain: new URL(endpoint).host, scopes: scope.split(' '), responseType: 'code',
    redirectSignIn: [app], redirectSignOut: [app],
  };
  Amplify.configure({
    Auth: { Cognito: { userPoolId: poolId, userPoolClientId: clientId, userPoolEndpoint: endpoint, loginWith: { oauth } } },
  });
  const session = async (options) => {
    const { tokens } = await auth.fetchAuthSession(options);
    return {
      id: tokens?.idToken.toString(), access: tokens?.accessToken.toString(), scope: tokens?.accessToken.payload.scope,
      claims: tokens?.idToken.payload,
    };
  };
  return {
    leave: () => auth.signInWithRedirect({ customState: 'page=2&x' }),
    arrive: async () => {
      await ended;
      return session();
    },
    attributes: () => auth.fetchUserAttributes(),
    refresh: () => session({ forceRefresh: true }),
    signOut: () => auth.signOut(),
    signedOut: async () => (await session()).access === undefined,
  };
}

const libraries = { 'oidc-client-ts': oidcClientTs, amplify };

// Opens a library: a function of an order, which answers { ok } or { error, message }.
export function open(library, config) {
  const operations = libraries[library](config);
  return async ({ do: name, ...order }) => {
    try {
      return { ok: (await operations[name](order)) ?? null };
    } catch (error) {
      return { error: error.error ?? error.name, message: String(error.message ?? error) };
    }
  };
}
