"""A SAML identity provider by pysaml2, with one person, alice.
usage: saml-idp.py PORT SP_METADATA FOLDER SIGN BINDING CIPHER
SP_METADATA is read when somebody comes. SIGN is assertion, response or both; BINDING is how it takes requests, redirect or post. CIPHER is plain, or what
assertions are encrypted by, such as aes256-cbc. It takes no request that is not signed, and ends its session by single logout in both directions."""
import functools
import html
import pathlib
import subprocess
import sys
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import saml2.entity
from saml2 import BINDING_HTTP_POST, BINDING_HTTP_REDIRECT, saml
from saml2.config import IdPConfig
from saml2.metadata import entity_descriptor
from saml2.server import Server
from saml2.sigver import SecurityContext, pre_encryption_part

port, sp_metadata, folder, sign, binding, cipher = sys.argv[1:]
if cipher != "plain":
    # Its own choice is triple DES, and its settings know no other.
    saml2.entity.pre_encryption_part = functools.partial(
        pre_encryption_part, msg_enc=f"http://www.w3.org/2001/04/xmlenc#{cipher}"
    )
    session_key = f"aes-{cipher[3:6]}"
    SecurityContext.encrypt_assertion = functools.partialmethod(
        SecurityContext.encrypt_assertion, key_type=session_key
    )
base = f"http://127.0.0.1:{port}"
folder = pathlib.Path(folder)
key, certificate = str(folder / "py.key"), str(folder / "py.pem")
subprocess.run(
    ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate]
    + ["-days", "30", "-subj", "/CN=pysaml2"],
    check=True, stderr=subprocess.DEVNULL,
)
taken = {"redirect": BINDING_HTTP_REDIRECT, "post": BINDING_HTTP_POST}[binding]
settings = {
    "entityid": f"{base}/metadata",
    "xmlsec_binary": "/usr/bin/xmlsec1",
    "key_file": key,
    "cert_file": certificate,
    "service": {"idp": {
        "name": "pysaml2",
        "want_authn_requests_signed": True,
        "endpoints": {
            "single_sign_on_service": [(f"{base}/sso", taken)],
            "single_logout_service": [(f"{base}/slo", taken)],
        },
        "policy": {"default": {"lifetime": {"minutes": 5}, "attribute_restrictions": None,
                               "name_form": "urn:oasis:names:tc:SAML:2.0:attrname-format:uri"}},
    }},
}
# Whoever wants our metadata to know us by may not have written down his own yet.
own_metadata = str(entity_descriptor(IdPConfig().load(dict(settings))))
idp = None


def meet():
    """Reads the metadata of the service provider, which is there by now."""
    global idp
    if idp is None:
        idp = Server(config=IdPConfig().load({**settings, "metadata": {"local": [sp_metadata]}}))


# It would take SHA-1 otherwise.
strong = {
    "sign_alg": "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
    "digest_alg": "http://www.w3.org/2001/04/xmlenc#sha256",
}
name_id = saml.NameID(format=saml.NAMEID_FORMAT_PERSISTENT, text="alice-0001")
# What the person at the provider is signed in to, by the session's index.
sessions = {}


def signature_of(form):
    """What pysaml2 wants of a signed query."""
    known = ("SAMLRequest", "SAMLResponse", "RelayState", "SigAlg", "Signature")
    return {name: form[name] for name in known if name in form}


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def say(self, text, status=200, headers=(), kind="text/html"):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def send(self, message, to, relay_state, response):
        """A message of ours by the browser, signed."""
        sent = idp.apply_binding(taken, str(message), to, relay_state, response=response, sign=taken == BINDING_HTTP_REDIRECT,
                                 sigalg=strong["sign_alg"])
        if taken == BINDING_HTTP_REDIRECT:
            return self.say("", 303, [("Location", dict(sent["headers"])["Location"])])
        return self.say(sent["data"])

    def sso(self, form):
        fields = "".join(
            f'<input type="hidden" name="{name}" value="{html.escape(value, True)}">' for name, value in form.items()
        )
        return self.say(f'<form method="post" action="/login">{fields}<input name="username"><input name="password" type="password"><button id="go">Sign in</button></form>')

    def login(self, form):
        if (form.get("username"), form.get("password")) != ("alice", "alicepass"):
            return self.say("wrong password", 401)
        extra = signature_of(form) if taken == BINDING_HTTP_REDIRECT else {}
        request = idp.parse_authn_request(
            form["SAMLRequest"], taken, relay_state=form.get("RelayState"), sigalg=extra.get("SigAlg"), signature=extra.get("Signature"),
        )
        answer = idp.response_args(request.message)
        response = idp.create_authn_response(
            {"mail": ["alice@corp.example"], "givenName": ["Alice"], "displayName": ["Alice Example"]},
            in_response_to=answer["in_response_to"], destination=answer["destination"], sp_entity_id=answer["sp_entity_id"],
            userid="alice", name_id=name_id, authn={"class_ref": saml.AUTHN_PASSWORD_PROTECTED},
            sign_response=sign in ("both", "response"), sign_assertion=sign in ("both", "assertion"),
            encrypt_assertion=cipher != "plain",
            **strong,
        )
        sessions["sp"] = answer["sp_entity_id"]
        # Its form sends itself off by a script; the button stays for who has none.
        self.say(idp.apply_binding(BINDING_HTTP_POST, str(response), answer["destination"], form.get("RelayState", ""), response=True)["data"])

    def slo(self, form):
        if "SAMLResponse" in form:
            answer = idp.parse_logout_request_response(form["SAMLResponse"], taken)
            return self.say("signed out everywhere" if answer.status_ok() else "not all")
        extra = signature_of(form) if taken == BINDING_HTTP_REDIRECT else {}
        request = idp.parse_logout_request(
            form["SAMLRequest"], taken, relay_state=form.get("RelayState"), sigalg=extra.get("SigAlg"), signature=extra.get("Signature"),
        )
        if request.message.name_id.text != name_id.text:
            return self.say("another person", 400)
        sessions.clear()
        answer = idp.create_logout_response(request.message, [taken], sign=taken == BINDING_HTTP_POST, **strong)
        args = idp.response_args(request.message, [taken])
        return self.send(answer, args["destination"], form.get("RelayState", ""), True)

    def leave(self):
        """The person signs out here: the service provider is told."""
        where = idp.metadata.single_logout_service(sessions["sp"], taken, "spsso")[0]["location"]
        _, request = idp.create_logout_request(where, sessions["sp"], name_id=name_id, sign=taken == BINDING_HTTP_POST, **strong)
        return self.send(request, where, "", False)

    def route(self, form):
        path = urllib.parse.urlparse(self.path).path
        if path == "/metadata":
            return self.say(own_metadata, kind="application/samlmetadata+xml")
        meet()
        routes = {"/sso": self.sso, "/login": self.login, "/slo": self.slo}
        if path in routes:
            return routes[path](form)
        if path == "/leave":
            return self.leave()
        if path == "/sessions":
            return self.say(str(len(sessions)))
        return self.say("no", 404)

    def do_GET(self):
        self.route(dict(urllib.parse.parse_qsl(urllib.parse.urlparse(self.path).query)))

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.route(dict(urllib.parse.parse_qsl(body)))


server = ThreadingHTTPServer(("127.0.0.1", int(port)), Handler)
server.daemon_threads = True
threading.Thread(target=server.serve_forever, daemon=True).start()
print("ready", flush=True)
# Whoever started us ends us by closing this.
sys.stdin.read()
