// An OpenID Certified provider. usage: oidc-provider.mjs PORT REDIRECT_URI NAME
// Accounts: whoever types a login; `name+group1+group2` brings groups, `name!` an unverified address.
// Its advice for production would bury what a test has to say.
console.warn = console.info = () => {};
const { Provider } = await import('oidc-provider');

const [port, redirectUri, name] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;

const provider = new Provider(issuer, {
  clients: [{
    client_id: 'narthex',
    client_secret: `${name}-secret-0123456789abcdef0123456789`,
    redirect_uris: redirectUri.split(','),
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
  }],
  claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name', 'groups'] },
  async findAccount(ctx, id) {
    const [person, ...groups] = id.replace('!', '').split('+');
    return {
      accountId: id,
      claims: async () => ({
        sub: id,
        email: `${person}@${name}.example`,
        email_verified: !id.endsWith('!'),
        name: person,
        groups,
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
  // Tabs that sign in side by side must not end one another's tokens at the provider.
  expiresWithSession: () => false,
  pkce: { required: () => true },
  features: { devInteractions: { enabled: true }, rpInitiatedLogout: { enabled: true } },
  cookies: { keys: ['tests only'] },
});
provider.on('server_error', (ctx, error) => console.error(error));
provider.listen(Number(port), '127.0.0.1', () => console.log('ready'));
process.stdin.on('end', () => process.exit(0)).resume();
