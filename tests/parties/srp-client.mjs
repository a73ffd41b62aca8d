// Signs in with amazon-cognito-identity-js against a user pool that the test plays. Lines of JSON on
// standard input and output: {pool, user, password}; SRP_A; the challenge's parameters; the responses.
// usage: srp-client.mjs [native]
import { createInterface } from "node:readline";
import cognito from "amazon-cognito-identity-js";
import bigInteger from "amazon-cognito-identity-js/lib/BigInteger.js";

const { AuthenticationDetails, CognitoUser, CognitoUserPool } = cognito;
const BigInteger = bigInteger.default;

// The library's entry for React Native replaces its slow powers by native ones in the same way.
if (process.argv[2] === "native") {
  BigInteger.prototype.modPow = function (exponent, modulus, callback) {
    const [base, e, m] = [this, exponent, modulus].map((value) => {
      const text = value.abs().toString(16);
      return value.compareTo(BigInteger.ZERO) < 0 ? -BigInt(`0x${text}`) : BigInt(`0x${text}`);
    });
    const power = new BigInteger(modPow(base, e, m).toString(16), 16);
    callback?.(null, power);
    return power;
  };
}

function modPow(base, exponent, modulus) {
  const powers = [1n, ((base % modulus) + modulus) % modulus];
  while (powers.length < 16) powers.push((powers.at(-1) * powers[1]) % modulus);
  let result = 1n;
  for (const digit of exponent.toString(16)) {
    for (let i = 0; i < 4; i++) result = (result * result) % modulus;
    result = (result * powers[parseInt(digit, 16)]) % modulus;
  }
  return result;
}

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const send = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);
const receive = async () => {
  const { value, done } = await lines.next();
  return done ? undefined : JSON.parse(value);
};

for (let order; (order = await receive()); ) {
  const pool = new CognitoUserPool({ UserPoolId: order.pool, ClientId: "client" });
  const user = new CognitoUser({ Username: order.user, Pool: pool });
  const responses = await new Promise((resolve, reject) => {
    user.client = {
      async request(operation, parameters, callback) {
        if (operation === "InitiateAuth") {
          send({ SRP_A: parameters.AuthParameters.SRP_A });
          callback(null, { ChallengeName: "PASSWORD_VERIFIER", ChallengeParameters: await receive() });
        } else {
          resolve(parameters.ChallengeResponses);
        }
      },
    };
    const details = new AuthenticationDetails({ Username: order.user, Password: order.password });
    user.authenticateUser(details, { onFailure: reject });
  });
  send(responses);
}
