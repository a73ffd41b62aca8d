"""Signs in with pycognito against a user pool that the test plays. Lines of JSON on standard input and
output: {pool, user, password}; SRP_A; the challenge's parameters; the responses."""
import json
import sys

from pycognito.aws_srp import AWSSRP


def receive():
    line = sys.stdin.readline()
    return json.loads(line) if line else None


def send(message):
    print(json.dumps(message), flush=True)


class Pool:
    """The operations of boto3's client that a sign-in calls."""

    def initiate_auth(self, AuthParameters, **_):
        send({"SRP_A": AuthParameters["SRP_A"]})
        return {"ChallengeName": "PASSWORD_VERIFIER", "ChallengeParameters": receive()}

    def respond_to_auth_challenge(self, ChallengeResponses, **_):
        send(ChallengeResponses)
        return {}


while order := receive():
    AWSSRP(
        username=order["user"],
        password=order["password"],
        pool_id=order["pool"],
        client_id="client",
        client=Pool(),
    ).authenticate_user()
