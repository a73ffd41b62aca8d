"""A client of Authlib that authenticates with a private key (private_key_jwt), order by order: a line of JSON each.

usage: oauth-proof.py CONFIG"""
import json
import os
import sys

from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from joserfc.jwk import import_key

config = json.loads(sys.argv[1])
os.environ["REQUESTS_CA_BUNDLE"] = config["ca"]
endpoint, key = config["endpoint"], config["clientKey"]
session = OAuth2Session(
    config["clientId"],
    import_key(key["jwk"]),
    token_endpoint_auth_method=PrivateKeyJWT(f"{endpoint}oauth2/token", alg=key["alg"]),
    revocation_endpoint_auth_method=PrivateKeyJWT(f"{endpoint}oauth2/token", alg=key["alg"]),
)
for line in sys.stdin:
    order = json.loads(line)
    try:
        if order["do"] == "program":
            token = session.fetch_token(
                f"{endpoint}oauth2/token", grant_type="client_credentials", scope=order["scope"]
            )
            result = {"ok": dict(token)}
        else:
            response = session.revoke_token(f"{endpoint}oauth2/revoke", token["access_token"])
            result = {"ok": response.status_code}
    except Exception as error:
        result = {"error": type(error).__name__, "message": str(error)}
    print(json.dumps(result), flush=True)
