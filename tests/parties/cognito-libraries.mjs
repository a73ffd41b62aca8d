// The same account operations through each of AWS's libraries, in Node and in browsers.
import {
  CognitoIdentityProviderClient, ChangePasswordCommand, ConfirmForgotPasswordCommand, ConfirmSignUpCommand,
  DeleteUserCommand, ForgotPasswordCommand, GetTokensFromRefreshTokenCommand, GetUserCommand,
  GlobalSignOutCommand, InitiateAuthCommand, RespondToAuthChallengeCommand, SignUpCommand,
} from '@aws-sdk/client-cognito-identity-provider';
import { AuthenticationDetails, CognitoUser, CognitoUserAttribute, CognitoUserPool } from 'amazon-cognito-identity-js';
import { Amplify } from 'aws-amplify';
import * as auth from 'aws-amplify/auth';
import { JwtVerifier } from 'aws-jwt-verify';
import { createSrpSession, signSrpSession, wrapAuthChallenge, wrapInitiateAuth } from 'cognito-srp-helper';

const list = (attributes) => Object.entries(attributes).map(([Name, Value]) => ({ Name, Value }));

// amazon-cognito-identity-js, with its own implementation of Secure Remote Password.
function identityJs({ endpoint, poolId, clientId }) {
  const pool = new CognitoUserPool({ UserPoolId: poolId, ClientId: clientId, endpoint });
  let user;
  const named = (name) => new CognitoUser({ Username: name, Pool: pool });
  const call = (run) =>
    new Promise((resolve, reject) => run((error, result) => (error ? reject(error) : resolve(result))));
  const sign = (run) =>
    new Promise((onSuccess, onFailure) =>
      run({
        onSuccess: (session) => onSuccess({ access: session.getAccessToken().getJwtToken(), id: session.getIdToken().getJwtToken() }),
        onFailure,
        newPasswordRequired: (attributes, required) => onSuccess({ challenge: 'NEW_PASSWORD_REQUIRED', required }),
        totpRequired: (challenge) => onSuccess({ challenge }),
        customChallenge: (parameters) => onSuccess({ challenge: 'CUSTOM_CHALLENGE', parameters }),
        mfaSetup: async (challenge) => onSuccess({ challenge, ...(await newToken()) }),
      }));
  const newToken = () =>
    new Promise((resolve, reject) => user.associateSoftwareToken({ associateSecretCode: (secret) => resolve({ secret }), onFailure: reject }));
  return {
    newToken,
    confirmToken: ({ code }) =>
      new Promise((resolve, onFailure) => user.verifySoftwareToken(code, 'app', { onSuccess: () => resolve(), onFailure })),
    preferToken: () => call((done) => user.setUserMfaPreference(null, { Enabled: true, PreferredMfa: true }, done)),
    setUpCode: ({ code }) => sign((on) => user.verifySoftwareToken(code, 'app', on)),
    mfaCode: ({ code }) => sign((on) => user.sendMFACode(code, on, 'SOFTWARE_TOKEN_MFA')),
    remember: () => new Promise((onSuccess, onFailure) => user.setDeviceStatusRemembered({ onSuccess, onFailure })),
    devices: async () => {
      const found = await new Promise((onSuccess, onFailure) => user.listDevices(10, null, { onSuccess, onFailure }));
      return found.Devices.map((of) => of.DeviceKey);
    },
    signOut: () => user.signOut(),
    signUp: ({ name, password, attributes }) =>
      call((done) => pool.signUp(name, password, list(attributes).map((of) => new CognitoUserAttribute(of)), null, done)),
    confirm: ({ name, code }) => call((done) => named(name).confirmRegistration(code, true, done)),
    signIn: ({ name, password }) => {
      user = named(name);
      return sign((on) => user.authenticateUser(new AuthenticationDetails({ Username: name, Password: password }), on));
    },
    customSignIn: ({ name, password }) => {
      user = named(name);
      user.setAuthenticationFlowType('CUSTOM_AUTH');
      const details = new AuthenticationDetails({ Username: name, Password: password });
      return sign((on) => (password ? user.authenticateUser(details, on) : user.initiateAuth(details, on)));
    },
    customAnswer: ({ answer }) => sign((on) => user.sendCustomChallengeAnswer(answer, on)),
    newPassword: ({ password, attributes }) => sign((on) => user.completeNewPasswordChallenge(password, attributes ?? {}, on)),
    attributes: async () => {
      const found = await call((done) => user.getUserAttributes(done));
      return Object.fromEntries(found.map((of) => [of.getName(), of.getValue()]));
    },
    changePassword: ({ before, after }) => call((done) => user.changePassword(before, after, done)),
    refresh: async () => {
      const session = await call((done) => user.getSession(done));
      const next = await call((done) => user.refreshSession(session.getRefreshToken(), done));
      return { access: next.getAccessToken().getJwtToken() };
    },
    forgot: ({ name }) =>
      new Promise((onSuccess, onFailure) => named(name).forgotPassword({ onSuccess, onFailure })),
    confirmForgot: ({ name, code, password }) =>
      new Promise((onSuccess, onFailure) => named(name).confirmPassword(code, password, { onSuccess, onFailure })),
    signOutEverywhere: () => new Promise((onSuccess, onFailure) => user.globalSignOut({ onSuccess, onFailure })),
    delete: () => call((done) => user.deleteUser(done)),
  };
}

// @aws-sdk/client-cognito-identity-provider, with cognito-srp-helper for Secure Remote Password.
function sdk({ endpoint, poolId, clientId, region, clientSecret }) {
  const client = new CognitoIdentityProviderClient({ endpoint, region, maxAttempts: 1, credentials: { accessKeyId: 'none', secretAccessKey: 'none' } });
  const send = (Command, input) => client.send(new Command({ ClientId: clientId, ...input }));
  let tokens, challenge, signedInAs;
  const signedIn = (answer) => {
    if (answer.ChallengeName) {
      challenge = answer;
      return { challenge: answer.ChallengeName, required: JSON.parse(answer.ChallengeParameters.requiredAttributes ?? '[]') };
    }
    tokens = { ...tokens, ...answer.AuthenticationResult };
    return { access: tokens.AccessToken, id: tokens.IdToken };
  };
  return {
    signUp: ({ name, password, attributes }) =>
      send(SignUpCommand, { Username: name, Password: password, UserAttributes: list(attributes) }),
    confirm: ({ name, code }) => send(ConfirmSignUpCommand, { Username: name, ConfirmationCode: code }),
    signIn: async ({ name, password }) => {
      signedInAs = name;
      const session = createSrpSession(name, password, poolId, false);
      const begin = wrapInitiateAuth(session, { ClientId: clientId, AuthFlow: 'USER_SRP_AUTH', AuthParameters: { CHALLENGE_NAME: 'SRP_A', USERNAME: name } });
      const begun = await client.send(new InitiateAuthCommand(begin));
      const signed = signSrpSession(session, begun);
      const answer = { ClientId: clientId, ChallengeName: 'PASSWORD_VERIFIER', ChallengeResponses: { USERNAME: name } };
      return signedIn(await client.send(new RespondToAuthChallengeCommand(wrapAuthChallenge(signed, answer))));
    },
    newPassword: async ({ password }) =>
      signedIn(await send(RespondToAuthChallengeCommand, { ChallengeName: 'NEW_PASSWORD_REQUIRED', Session: challenge.Session, ChallengeResponses: { USERNAME: signedInAs, NEW_PASSWORD: password } })),
    attributes: async () => {
      const user = await client.send(new GetUserCommand({ AccessToken: tokens.AccessToken }));
      return Object.fromEntries(user.UserAttributes.map(({ Name, Value }) => [Name, Value]));
    },
    changePassword: ({ before, after }) =>
      client.send(new ChangePasswordCommand({ AccessToken: tokens.AccessToken, PreviousPassword: before, ProposedPassword: after })),
    refresh: async () => signedIn(await send(GetTokensFromRefreshTokenCommand, { RefreshToken: tokens.RefreshToken, ClientSecret: clientSecret })),
    forgot: ({ name }) => send(ForgotPasswordCommand, { Username: name }),
    confirmForgot: ({ name, code, password }) => send(ConfirmForgotPasswordCommand, { Username: name, ConfirmationCode: code, Password: password }),
    signOutEverywhere: () => client.send(new GlobalSignOutCommand({ AccessToken: tokens.AccessToken })),
    delete: () => client.send(new DeleteUserCommand({ AccessToken: tokens.AccessToken })),
  };
}

// aws-amplify's auth, version 6.
function amplify({ endpoint, poolId, clientId }) {
  Amplify.configure({ Auth: { Cognito: { userPoolId: poolId, userPoolClientId: clientId, userPoolEndpoint: endpoint } } });
  const session = async (options) => {
    const { tokens } = await auth.fetchAuthSession(options);
    return { access: tokens?.accessToken.toString(), id: tokens?.idToken.toString() };
  };
  const names = {
    CONFIRM_SIGN_IN_WITH_NEW_PASSWORD_REQUIRED: 'NEW_PASSWORD_REQUIRED',
    CONFIRM_SIGN_IN_WITH_TOTP_CODE: 'SOFTWARE_TOKEN_MFA',
    CONFIRM_SIGN_IN_WITH_CUSTOM_CHALLENGE: 'CUSTOM_CHALLENGE',
    CONTINUE_SIGN_IN_WITH_TOTP_SETUP: 'MFA_SETUP',
  };
  const step = async ({ isSignedIn, nextStep }) =>
    isSignedIn
      ? session()
      : { challenge: names[nextStep.signInStep] ?? nextStep.signInStep, required: nextStep.missingAttributes, parameters: nextStep.additionalInfo, secret: nextStep.totpSetupDetails?.sharedSecret };
  const answer = async ({ code }) => step(await auth.confirmSignIn({ challengeResponse: code }));
  return {
    newToken: async () => ({ secret: (await auth.setUpTOTP()).sharedSecret }),
    confirmToken: ({ code }) => auth.verifyTOTPSetup({ code }),
    preferToken: () => auth.updateMFAPreference({ totp: 'PREFERRED' }),
    setUpCode: answer,
    mfaCode: answer,
    remember: () => auth.rememberDevice(),
    devices: async () => (await auth.fetchDevices()).map((of) => of.id),
    signOut: () => auth.signOut(),
    customSignIn: async ({ name, password }) =>
      step(await auth.signIn({ username: name, password, options: { authFlowType: password ? 'CUSTOM_WITH_SRP' : 'CUSTOM_WITHOUT_SRP' } })),
    customAnswer: async ({ answer }) => step(await auth.confirmSignIn({ challengeResponse: answer })),
    signUp: ({ name, password, attributes }) =>
      auth.signUp({ username: name, password, options: { userAttributes: attributes } }),
    confirm: ({ name, code }) => auth.confirmSignUp({ username: name, confirmationCode: code }),
    signIn: async ({ name, password }) => step(await auth.signIn({ username: name, password })),
    newPassword: async ({ password }) => step(await auth.confirmSignIn({ challengeResponse: password })),
    attributes: () => auth.fetchUserAttributes(),
    changePassword: ({ before, after }) => auth.updatePassword({ oldPassword: before, newPassword: after }),
    refresh: () => session({ forceRefresh: true }),
    forgot: ({ name }) => auth.resetPassword({ username: name }),
    confirmForgot: ({ name, code, password }) =>
      auth.confirmResetPassword({ username: name, confirmationCode: code, newPassword: password }),
    signOutEverywhere: () => auth.signOut({ global: true }),
    delete: () => auth.deleteUser(),
  };
}

// aws-jwt-verify: both kinds of tokens, by the pool's own key set.
function verify({ endpoint, poolId, clientId }, { token, use }) {
  const issuer = `${endpoint.replace(/\/$/, '')}/${poolId}`;
  const audience = use === 'id' ? clientId : null;
  return JwtVerifier.create({ issuer, audience, jwksUri: `${issuer}/.well-known/jwks.json` }).verify(token);
}

const libraries = { identityJs, sdk, amplify };

// Opens a library: a function of an order, which answers { ok } or { error, message }.
export function open(library, config) {
  const operations = { ...libraries[library](config), verify: (order) => verify(config, order) };
  return async ({ do: name, ...order }) => {
    try {
      return { ok: (await operations[name](order)) ?? null };
    } catch (error) {
      return { error: error.name ?? error.code, message: error.message };
    }
  };
}
