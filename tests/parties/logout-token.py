"""Verifies the form of a back-channel logout with pyoidc, and prints the claims of its token.

usage: logout-token.py ISSUER CLIENT_ID JWK_SET FORM"""
import json
import sys

from oic.oic.message import BackChannelLogoutRequest
from oic.utils.keyio import KeyJar

issuer, client_id, keys, form = sys.argv[1:5]
keyjar = KeyJar()
keyjar.import_jwks(json.loads(keys), issuer)
request = BackChannelLogoutRequest().from_urlencoded(form)
request.verify(keyjar=keyjar, iss=issuer, aud=client_id)
print(json.dumps(request["logout_token"].to_dict()))
