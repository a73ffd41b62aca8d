// An OpenID Certified provider. usage: oidc-provider.mjs PORT REDIRECT_URI NAME [SECONDS]
// Accounts: whoever types a login; `name+group1+group2` brings groups, `name!` an unverified address.
// SECONDS: how long access tokens live; refresh tokens are given then, and work once.
// POST /test/groups?login=L&groups=a,b changes groups, /test/revoke?login=L takes every grant back,
// GET /test/counts tells how often what was done.

// Its advice for production would bury what a test has to say.
console.warn = console.info = () => {};
// It calls the deployments under test, whose authorities are made later than this process.
process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';
process.removeAllListeners('warning');
const { default: dns } = await import('node:dns');
// Browsers know that *.localhost is this machine; the C library may not.
const lookup = dns.lookup;
dns.lookup = (host, options, callback) => lookup(host.endsWith('.localhost') ? '127.0.0.1' : host, options, callback);
const { Provider } = await import('oidc-provider');

const [port, redirectUri, name, seconds] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
const redirectUris = redirectUri.split(',');
const beside = (path) => redirectUris[0].replace(`/oauth2/idpresponse/${name}`, path);
const counts = { refreshes: 0, reuses: 0, backchannel: 0 };
const groupsOf = new Map();
const revoked = new Set();

const provider = new Provider(issuer, {
  clients: [{
    client_id: 'narthex',
    client_secret: `${name}-secret-0123456789abcdef0123456789`,
    redirect_uris: redirectUris,
    post_logout_redirect_uris: [beside('/logout')],
    backchannel_logout_uri: beside(`/oauth2/backchannel-logout/${name}`),
    backchannel_logout_session_required: true,
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
  }],
  claims: { openid: ['sub', 'sid'], email: ['email', 'email_verified'], profile: ['name', 'groups'] },
  async findAccount(ctx, id) {
    const [person, ...groups] = id.replace('!', '').split('+');
    return {
      accountId: id,
      claims: async () => ({
        sub: id,
        email: `${person}@${name}.example`,
        email_verified: !id.endsWith('!'),
        name: person,
        groups: groupsOf.get(id) ?? groups,
      }),
    };
  },
  // Everybody agrees to everything: consent is not what is tested here.
  async loadExistingGrant(ctx) {
    const grant = new ctx.oidc.provider.Grant({
      clientId: ctx.oidc.client.clientId,
      accountId: ctx.oidc.session.accountId,
    });
    grant.addOIDCScope('openid email profile');
    await grant.save();
    return grant;
  },
  ...(seconds && {
    issueRefreshToken: async () => true,
    rotateRefreshToken: true,
    ttl: { AccessToken: Number(seconds) },
  }),
  // Tabs that sign in side by side must not end one another's tokens at the provider.
  expiresWithSession: () => false,
  // It refuses to call this machine, where all its relying parties are.
  fetch: (url, { dispatcher, ...options }) => fetch(url, options),
  pkce: { required: () => true },
  features: {
    devInteractions: { enabled: true },
    rpInitiatedLogout: { enabled: true },
    backchannelLogout: { enabled: true },
  },
  cookies: { keys: ['tests only'] },
});
provider.on('server_error', (ctx, error) => console.error(error));
provider.on('grant.success', (ctx) => {
  if (ctx.oidc.params.grant_type === 'refresh_token') counts.refreshes += 1;
});
provider.on('grant.error', (ctx) => {
  if (ctx.oidc?.params?.grant_type === 'refresh_token') counts.reuses += 1;
});
provider.on('backchannel.success', () => { counts.backchannel += 1; });
provider.on('backchannel.error', (ctx, error) => console.error(error, error.cause));
provider.use(async (ctx, next) => {
  if (ctx.path === '/test/groups') {
    groupsOf.set(ctx.query.login, ctx.query.groups ? ctx.query.groups.split(',') : []);
    ctx.body = 'ok';
  } else if (ctx.path === '/test/revoke') {
    revoked.add(ctx.query.login);
    ctx.body = 'ok';
  } else if (ctx.path === '/test/counts') {
    ctx.body = counts;
  } else {
    await next();
  }
});
const find = provider.RefreshToken.find.bind(provider.RefreshToken);
provider.RefreshToken.find = async (...args) => {
  const token = await find(...args);
  return token && revoked.has(token.accountId) ? undefined : token;
};
provider.listen(Number(port), '127.0.0.1', () => console.log('ready'));
process.stdin.on('end', () => process.exit(0)).resume();
