"""Signs a user in with a client library of OpenID Connect, order by order: a line of JSON each, as oauth-client.mjs does.

usage: oauth-client.py authlib|pyoidc CONFIG"""
import json
import os
import secrets
import sys
from urllib.parse import urlsplit

library, text = sys.argv[1:3]
config = json.loads(text)
issuer, client_id, secret = config["issuer"], config["clientId"], config.get("secret")
os.environ["REQUESTS_CA_BUNDLE"] = config["ca"]


class Authlib:
    """Authlib's integration into Flask, in an app with the routes that its documentation has."""

    def __init__(self):
        from authlib.integrations.flask_client import OAuth
        from flask import Flask, request, url_for

        app = Flask("app")
        app.secret_key = secrets.token_bytes(32)
        oauth = OAuth(app)
        oauth.register(
            "narthex",
            client_id=client_id,
            client_secret=secret,
            server_metadata_url=f"{issuer}/.well-known/openid-configuration",
            client_kwargs={"scope": config["scope"], "code_challenge_method": "S256"},
        )
        narthex = oauth.narthex

        @app.get("/login")
        def login():
            return narthex.authorize_redirect(config["redirectUri"])

        @app.get("/callback")
        def callback():
            token = narthex.authorize_access_token()
            self.token = dict(token)
            return dict(token["userinfo"])

        @app.get("/user")
        def user():
            return dict(narthex.userinfo(token=self.token))

        @app.get("/refresh")
        def refresh():
            metadata = narthex.load_server_metadata()
            session = narthex._get_oauth_client(**metadata)
            token = session.refresh_token(metadata["token_endpoint"], refresh_token=self.token["refresh_token"])
            claims = narthex.parse_id_token(token, nonce=None)
            self.token = {**self.token, **token}
            return dict(claims)

        @app.get("/logout")
        def logout():
            return narthex.logout_redirect(config["signedOut"], id_token_hint=self.token["id_token"])

        app.testing = True
        # One visitor with one cookie jar.
        self.browser = app.test_client()

    def tokens(self, claims):
        token = self.token
        return {"id": token["id_token"], "access": token["access_token"], "scope": token["scope"], "claims": claims}

    def authorize(self):
        return self.browser.get("/login").location

    def callback(self, url):
        return self.tokens(self.browser.get("/callback", query_string=urlsplit(url).query).json)

    def userInfo(self):
        return self.browser.get("/user").json

    def refresh(self):
        return self.tokens(self.browser.get("/refresh").json)

    def signOut(self):
        return self.browser.get("/logout").location


class Pyoidc:
    """The consumer's part of oic."""

    def __init__(self):
        from oic.oic import Client
        from oic.oic.message import RegistrationResponse
        from oic.utils.authn.client import CLIENT_AUTHN_METHOD
        from oic.utils.settings import OicClientSettings

        settings = OicClientSettings(verify_ssl=config["ca"])
        self.client = Client(client_authn_method=CLIENT_AUTHN_METHOD, settings=settings)
        self.client.provider_config(issuer)
        self.client.store_registration_info(
            RegistrationResponse(
                client_id=client_id,
                client_secret=secret,
                redirect_uris=[config["redirectUri"]],
                id_token_signed_response_alg=config["algorithm"],
            )
        )
        self.client.redirect_uris = [config["redirectUri"]]

    def authorize(self):
        self.state, self.nonce = secrets.token_urlsafe(16), secrets.token_urlsafe(16)
        challenge, self.verifier = self.client.add_code_challenge()
        self.request = self.client.construct_AuthorizationRequest(
            request_args={
                "response_type": "code",
                "scope": config["scope"].split(" "),
                "redirect_uri": config["redirectUri"],
                "state": self.state,
                "nonce": self.nonce,
                **challenge,
            }
        )
        return self.request.request(self.client.authorization_endpoint)

    def callback(self, url):
        from oic.oic.message import AuthorizationResponse

        query = urlsplit(url).query
        response = self.client.parse_response(AuthorizationResponse, info=query, sformat="urlencoded")
        if response["state"] != self.state:
            raise ValueError("state")
        tokens = self.client.do_access_token_request(
            state=self.state,
            request_args={"code": response["code"], "code_verifier": self.verifier},
            authn_method="client_secret_basic",
        )
        if "error" in tokens:
            raise ValueError(tokens["error"])
        self.client.verify_id_token(tokens["id_token"], self.request)
        return self.tokens(tokens)

    def tokens(self, tokens):
        self.raw = self.client.grant[self.state].tokens[-1].id_token_jwt
        scope = tokens.get("scope", [])
        claims = tokens["id_token"].to_dict()
        claims["aud"] = claims["aud"][0] if len(claims["aud"]) == 1 else claims["aud"]
        return {"id": self.raw, "access": tokens["access_token"], "scope": " ".join(scope), "claims": claims}

    def userInfo(self):
        return self.client.do_user_info_request(method="GET", state=self.state).to_dict()

    def refresh(self):
        tokens = self.client.do_access_token_refresh(state=self.state, authn_method="client_secret_basic")
        if "error" in tokens:
            raise ValueError(tokens["error"])
        return self.tokens(tokens)

    def signOut(self):
        request = self.client.construct_EndSessionRequest(
            request_args={
                "id_token_hint": self.raw,
                "post_logout_redirect_uri": config["signedOut"],
                "state": "bye",
            },
            state=self.state,
        )
        return request.request(self.client.end_session_endpoint)


client = {"authlib": Authlib, "pyoidc": Pyoidc}[library]()
for line in sys.stdin:
    order = json.loads(line)
    try:
        result = {"ok": getattr(client, order.pop("do"))(**order)}
    except Exception as error:
        result = {"error": type(error).__name__, "message": str(error)}
    print(json.dumps(result), flush=True)
