"""Signs users up and in with pycognito, order by order: a line of JSON each; as cognito-client.mjs does.

usage: pycognito-client.py CONFIG"""
import json
import os
import sys

import boto3
import botocore.exceptions
import requests
from pycognito import AWSSRP, Cognito, aws_srp
from pycognito.exceptions import ForceChangePasswordException, SoftwareTokenMFAChallengeException

config = json.loads(sys.argv[1])
endpoint = config["endpoint"].rstrip("/")
# For the key set, which it fetches with another client.
os.environ["REQUESTS_CA_BUNDLE"] = config["ca"]
session = None


def user(name):
    return Cognito(
        config["poolId"],
        config["clientId"],
        client_secret=config.get("clientSecret"),
        username=name,
        user_pool_region=config["region"],
        access_key="none",
        secret_key="none",
        boto3_client_kwargs={"endpoint_url": endpoint, "verify": config["ca"]},
    )


def tokens():
    return {"access": session.access_token, "id": session.id_token}


def sign_in(name, password):
    global session
    session = user(name)
    session.password = password
    try:
        # It verifies both tokens by the pool's key set.
        session.authenticate(password=password)
    except ForceChangePasswordException:
        return {"challenge": "NEW_PASSWORD_REQUIRED", "required": []}
    except SoftwareTokenMFAChallengeException:
        return {"challenge": "SOFTWARE_TOKEN_MFA"}
    return tokens()


def sign_up(name, password, attributes):
    of = user(name)
    of.set_base_attributes(**attributes)
    of.register(name, password)


def new_password(password):
    session.new_password_challenge(session.password, password)
    return tokens()


def refresh():
    session.renew_access_token()
    return tokens()


def attributes():
    return {of["Name"]: of["Value"] for of in session.client.get_user(AccessToken=session.access_token)["UserAttributes"]}


def mfa_code(code):
    session.respond_to_software_token_mfa_challenge(code)
    return tokens()


# The library sends the requests about devices to AWS's own address.
aws_srp.requests.post = lambda url, **options: requests.request("POST", f"{endpoint}/", verify=config["ca"], **options)
device = {}


def device_sign_in(name, password, remember=False, wrong=False):
    """Signs in with the remembered device, or confirms a new one."""
    client = boto3.client(
        "cognito-idp", region_name=config["region"], endpoint_url=endpoint, verify=config["ca"],
        aws_access_key_id="none", aws_secret_access_key="none",
    )
    keys = dict(device, device_password="wrong") if wrong else device
    srp = AWSSRP(name, password, config["poolId"], config["clientId"], client=client, **keys)
    answer = srp.authenticate_user()
    if remember:
        response, secret = srp.confirm_device(answer, "laptop")
        device.update(device_key=srp.device_key, device_group_key=srp.device_group_key, device_password=secret)
        assert response.status_code == 200, response.text
        return response.json()
    return {"access": answer["AuthenticationResult"]["AccessToken"]}


ORDERS = {
    "deviceSignIn": device_sign_in,
    "newToken": lambda: {"secret": session.associate_software_token()},
    "confirmToken": lambda code: session.verify_software_token(code),
    "preferToken": lambda: session.set_user_mfa_preference(False, True, "SOFTWARE_TOKEN"),
    "mfaCode": mfa_code,
    "signUp": sign_up,
    "confirm": lambda name, code: user(name).confirm_sign_up(code),
    "signIn": sign_in,
    "newPassword": new_password,
    "verify": lambda token, use: session.verify_token(token, f"{use}_token", use),
    "attributes": attributes,
    "changePassword": lambda before, after: session.change_password(before, after),
    "refresh": refresh,
    "forgot": lambda name: user(name).initiate_forgot_password(),
    "confirmForgot": lambda name, code, password: user(name).confirm_forgot_password(code, password),
    "signOutEverywhere": lambda: session.logout(),
    "delete": lambda: session.delete_user(),
}

for line in sys.stdin:
    order = json.loads(line)
    try:
        answer = {"ok": ORDERS[order.pop("do")](**order)}
    except botocore.exceptions.ClientError as error:
        answer = {"error": error.response["Error"]["Code"], "message": error.response["Error"]["Message"]}
    print(json.dumps(answer, default=str), flush=True)
