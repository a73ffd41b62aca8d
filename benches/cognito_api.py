#!/usr/bin/env python3
"""Measures sign-ins, refreshes, GetUser and ListUsers of the Cognito API, in turn at Narthex, moto_server and MiniStack, the
sign-in page of Narthex and logins through it, and argon2id alone; the result is put into benches/RESULTS.md.

usage: benches/cognito_api.py NARTHEX PYTHON [ROUNDS]

PYTHON is that of an environment with moto, MiniStack and argon2-cffi. Each server has one core and the client another one. The numbers
are requests per second of the server's CPU time, which neither the client's speed nor other programs determine. moto does
not check the proof of Secure Remote Password, and neither moto nor MiniStack hashes passwords. Narthex alone uses TLS and
writes to a disk."""
import base64
import datetime
import hashlib
import hmac
import http.client
import json
import os
import pathlib
import platform
import secrets
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benches" / "RESULTS.md"
HEADING = "# The Cognito API"
KEY = ("AKIABENCHMARK0000001", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
REGION, PASSWORD = "us-east-1", "Correct-Horse-7-Battery"
USERS = 100
# Calls of a round.
CALLS = {"SRP sign-in": 40, "password sign-in": 40, "refresh": 400, "GetUser": 1500, "ListUsers": 800}
# What only Narthex has: the page, and a login from the authorization request to the tokens.
OWN_CALLS = {"sign-in page": 1000, "code login": 40}
CALLBACK = "https://app.example/callback"
# The hashing of a password as Narthex does it (OWASP's parameters), once for each second of CPU time.
ARGON2ID = """
import time
from argon2.low_level import Type, hash_secret_raw
calls, begun = 60, time.process_time()
for _ in range(calls):
    hash_secret_raw(b"Correct-Horse-7-Battery", bytes(16), time_cost=2, memory_cost=19456, parallelism=1, hash_len=32, type=Type.ID)
print(calls / (time.process_time() - begun))
"""
# RFC 5054, the group of 3072 bits (RFC 3526).
N = int(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B302B0A6"
    "DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7EDEE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B"
    "3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746"
    "C08CA18217C32905E462E36CE3BE39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA"
    "051015728E5A8AAAC42DAD33170D04507A33A85521ABDF1CBA64ECFB850458DBEF0A8AEA71575D060C7DB3970F85A6E1E4C7ABF5AE8CDB0933D71E8"
    "C94E04A25619DCEE3D2261AD2EE6BF12FFA06D98A0864D87602733EC86A64521F2B18177B200CBBE117577A615D6C770988C0BAD946E208E24FA074"
    "E5AB3143DB5BFCE0FD108E4B82D120A93AD2CAFFFFFFFFFFFFFFFF", 16)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Server:
    """A server on core 0, with a pool, an app client and users."""

    def __init__(self, name, command, port, folder, environment=None, authority=None):
        self.name, self.port, self.authority = name, port, authority
        self.log = open(folder / f"{name}.log", "wb")
        self.process = subprocess.Popen(["taskset", "-c", "0", *command], cwd=folder, stdout=self.log, stderr=self.log,
                                        env={**os.environ, **(environment or {})})
        # MiniStack takes another name for a bucket.
        self.host = f"{'auth.localhost' if authority else '127.0.0.1'}:{port}"
        self.connection = None

    def connect(self):
        stream = socket.create_connection(("127.0.0.1", self.port), 30)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.authority:
            stream = ssl.create_default_context(cafile=self.authority).wrap_socket(stream, server_hostname="auth.localhost")
        self.connection = http.client.HTTPConnection("auth.localhost", self.port)
        self.connection.sock = stream

    def call(self, operation, request, signed=False):
        body = json.dumps(request).encode()
        headers = {"Host": self.host, "Content-Type": "application/x-amz-json-1.1",
                   "X-Amz-Target": f"AWSCognitoIdentityProviderService.{operation}"}
        if signed:
            headers |= signature(self.host, headers, body)
        for attempt in range(2):
            try:
                if self.connection is None:
                    self.connect()
                self.connection.request("POST", "/", body, headers)
                answer = self.connection.getresponse()
                text = answer.read()
                break
            except (http.client.HTTPException, OSError):
                # A server may close a connection that is idle.
                self.connection = None
                if attempt:
                    raise
        if answer.status != 200:
            raise RuntimeError(f"{self.name} {operation}: {answer.status} {text[:300]}")
        return json.loads(text or b"{}")

    def wait(self):
        for _ in range(600):
            try:
                self.call("ListUserPools", {"MaxResults": 1}, signed=True)
                return
            except (OSError, RuntimeError, http.client.HTTPException):
                time.sleep(0.1)
        raise RuntimeError(f"{self.name} does not answer: {pathlib.Path(self.log.name).read_text()[-500:]}")

    def disconnect(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = None

    def fill(self):
        self.pool = self.call("CreateUserPool", {"PoolName": "people", "AutoVerifiedAttributes": ["email"]}, True)["UserPool"]["Id"]
        client = {"UserPoolId": self.pool, "ClientName": "app", "ExplicitAuthFlows": [
            f"ALLOW_{flow}_AUTH" for flow in ("USER_SRP", "USER_PASSWORD", "REFRESH_TOKEN")],
                  "AllowedOAuthFlows": ["code"], "AllowedOAuthFlowsUserPoolClient": True, "AllowedOAuthScopes": ["openid"],
                  "CallbackURLs": [CALLBACK], "SupportedIdentityProviders": ["COGNITO"]}
        self.client = self.call("CreateUserPoolClient", client, True)["UserPoolClient"]["ClientId"]
        for number in range(USERS):
            email = [{"Name": "email", "Value": f"user{number}@example.com"}]
            user = {"UserPoolId": self.pool, "Username": f"user{number}"}
            self.call("AdminCreateUser", {**user, "UserAttributes": email, "MessageAction": "SUPPRESS"}, True)
            self.call("AdminSetUserPassword", {**user, "Password": PASSWORD, "Permanent": True}, True)
        tokens = self.sign_in(0)
        self.access, self.refresh = tokens["AccessToken"], tokens["RefreshToken"]

    def sign_in(self, number):
        """Signs in as a user with Secure Remote Password. Returns the tokens."""
        small_a = secrets.randbits(256)
        big_a = pow(2, small_a, N)
        name = f"user{number % USERS}"
        begin = {"ClientId": self.client, "AuthFlow": "USER_SRP_AUTH", "AuthParameters": {"USERNAME": name, "SRP_A": f"{big_a:x}"}}
        challenge = self.call("InitiateAuth", begin)["ChallengeParameters"]
        now = datetime.datetime.now(datetime.UTC)
        stamp = now.strftime("%a %b ") + f"{now.day} " + now.strftime("%H:%M:%S UTC %Y")
        proof = srp_proof(self.pool.split("_")[1], challenge, (small_a, big_a), stamp)
        responses = {"USERNAME": challenge["USERNAME"], "PASSWORD_CLAIM_SECRET_BLOCK": challenge["SECRET_BLOCK"],
                     "PASSWORD_CLAIM_SIGNATURE": proof, "TIMESTAMP": stamp}
        answer = {"ClientId": self.client, "ChallengeName": "PASSWORD_VERIFIER", "ChallengeResponses": responses}
        return self.call("RespondToAuthChallenge", answer)["AuthenticationResult"]

    def authenticate(self, flow, parameters):
        request = {"ClientId": self.client, "AuthFlow": flow, "AuthParameters": parameters}
        assert self.call("InitiateAuth", request)["AuthenticationResult"]["AccessToken"]

    def browse(self, method, path, fields=None):
        """Sends a request of a browser without cookies. Returns the response and its body."""
        body = urllib.parse.urlencode(fields) if fields else None
        headers = {"Host": self.host, "Accept": "text/html"}
        if fields:
            headers |= {"Content-Type": "application/x-www-form-urlencoded", "Origin": f"https://{self.host}"}
        if self.connection is None:
            self.connect()
        self.connection.request(method, path, body, headers)
        response = self.connection.getresponse()
        text = response.read()
        if response.status != 200:
            raise RuntimeError(f"{self.name} {path}: {response.status} {text[:300]}")
        return response, text

    def log_in(self, number):
        """Signs a user in through the page, and redeems the code."""
        verifier = secrets.token_urlsafe(32)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
        query = urllib.parse.urlencode({
            "client_id": self.client, "redirect_uri": CALLBACK, "response_type": "code", "scope": "openid", "state": "s",
            "code_challenge": challenge, "code_challenge_method": "S256"})
        self.browse("GET", f"/oauth2/authorize?{query}")
        sent, _ = self.browse("POST", f"/login?{query}", {"username": f"user{number % USERS}", "password": PASSWORD})
        back = urllib.parse.urlsplit(sent.getheader("refresh").removeprefix("0;url="))
        code = urllib.parse.parse_qs(back.query)["code"][0]
        _, tokens = self.browse("POST", "/oauth2/token", {
            "grant_type": "authorization_code", "client_id": self.client, "redirect_uri": CALLBACK, "code": code,
            "code_verifier": verifier})
        assert json.loads(tokens)["id_token"]

    def run(self, kind, number):
        if kind == "code login":
            return self.log_in(number)
        if kind == "sign-in page":
            query = {"client_id": self.client, "redirect_uri": CALLBACK, "response_type": "code", "state": "s",
                     "code_challenge": "c" * 43, "code_challenge_method": "S256"}
            return self.browse("GET", f"/oauth2/authorize?{urllib.parse.urlencode(query)}")
        if kind == "SRP sign-in":
            self.sign_in(number)
        elif kind == "password sign-in":
            self.authenticate("USER_PASSWORD_AUTH", {"USERNAME": f"user{number % USERS}", "PASSWORD": PASSWORD})
        elif kind == "refresh":
            self.authenticate("REFRESH_TOKEN_AUTH", {"REFRESH_TOKEN": self.refresh})
        elif kind == "GetUser":
            self.call("GetUser", {"AccessToken": self.access})
        else:
            address = f'email = "user{number % USERS}@example.com"'
            found = self.call("ListUsers", {"UserPoolId": self.pool, "Filter": address}, True)["Users"]
            assert len(found) == 1, (self.name, found)

    def cpu_seconds(self):
        """The CPU time of the process and all its descendants."""
        parents, times = {}, {}
        for folder in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            parents[int(folder.name)] = int(fields[1])
            times[int(folder.name)] = sum(map(int, fields[11:15]))
        def belongs(process):
            while process > 1 and process != self.process.pid:
                process = parents.get(process, 0)
            return process == self.process.pid
        return sum(ticks for process, ticks in times.items() if belongs(process)) / os.sysconf("SC_CLK_TCK")


def srp_hash(text):
    return int(hashlib.sha256(bytes.fromhex(text)).hexdigest(), 16)


def padded(number):
    """The number in hexadecimal digits, as a positive number of two's complement."""
    text = f"{number:x}"
    text = text.zfill(len(text) + len(text) % 2)
    return "00" + text if text[0] in "89abcdef" else text


def srp_proof(pool, challenge, key, stamp):
    (small_a, big_a), big_b, salt = key, int(challenge["SRP_B"], 16), int(challenge["SALT"], 16)
    user, block = challenge["USER_ID_FOR_SRP"], challenge["SECRET_BLOCK"]
    inner = hashlib.sha256(f"{pool}{user}:{PASSWORD}".encode()).hexdigest()
    scramble, x = srp_hash(padded(big_a) + padded(big_b)), srp_hash(padded(salt) + inner)
    k = srp_hash("00" + f"{N:x}" + "0" + "2")
    shared = pow(big_b - k * pow(2, x, N), small_a + scramble * x, N)
    extracted = hmac.digest(bytes.fromhex(padded(scramble)), bytes.fromhex(padded(shared)), "sha256")
    derived = hmac.digest(extracted, b"Caldera Derived Key\x01", "sha256")[:16]
    try:
        block = base64.b64decode(block, validate=True)
    except ValueError:
        # moto's is no base64, and it checks no proof.
        block = block.encode()
    message = pool.encode() + user.encode() + block + stamp.encode()
    return base64.b64encode(hmac.digest(derived, message, "sha256")).decode()


def signature(host, headers, body):
    """Signature Version 4 of a request."""
    moment = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    signed = {"content-type": headers["Content-Type"], "host": host, "x-amz-date": moment, "x-amz-target": headers["X-Amz-Target"]}
    names = ";".join(signed)
    canonical = "\n".join(["POST", "/", "", *(f"{name}:{value}" for name, value in signed.items()), "", names,
                           hashlib.sha256(body).hexdigest()])
    scope = f"{moment[:8]}/{REGION}/cognito-idp/aws4_request"
    key = f"AWS4{KEY[1]}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    proof = hmac.new(key, text.encode(), "sha256").hexdigest()
    return {"X-Amz-Date": moment,
            "Authorization": f"AWS4-HMAC-SHA256 Credential={KEY[0]}/{scope}, SignedHeaders={names}, Signature={proof}"}


def start(narthex, python, folder):
    port = free_port()
    (folder / "admin.json").write_text(json.dumps({"Version": "2012-10-17", "Statement": {
        "Effect": "Allow", "Action": "cognito-idp:*", "Resource": "*"}}))
    (folder / "narthex.toml").write_text(f"""public_url = "https://auth.localhost:{port}"
[listen]
https = "127.0.0.1:{port}"
http = "off"
admin = "127.0.0.1:{free_port()}"
[[administrator]]
name = "admin"
access_key_id = "{KEY[0]}"
secret_access_key = "{KEY[1]}"
policies = ["admin.json"]
[[user_pool]]
name = "declared"
""")
    own = Server("Narthex", [narthex, "run", "--config", "narthex.toml"], port, folder,
                 authority=folder / "certs" / "local-authority.pem")
    moto = free_port()
    peer = Server("moto_server", [python.parent / "moto_server", "-p", str(moto)], moto, folder)
    stack = free_port()
    other = Server("MiniStack", [python.parent / "ministack"], stack, folder, {"GATEWAY_PORT": str(stack), "LOG_LEVEL": "ERROR", "IOT_MTLS_ENABLED": "0"})
    return [own, peer, other]


def hashes(python):
    """The hashes of argon2id per CPU second, on the servers' core."""
    return float(subprocess.check_output(["taskset", "-c", "0", python, "-c", ARGON2ID]))


def measure(servers, python, rounds):
    """The requests per CPU second of each server and kind, and the hashes of argon2id, round by round."""
    rates = {(server.name, kind): [] for server in servers for kind in (CALLS | OWN_CALLS)} | {"argon2id": []}
    for _ in range(rounds):
        rates["argon2id"].append(hashes(python))
        for kind, calls in (CALLS | OWN_CALLS).items():
            for server in servers if kind in CALLS else servers[:1]:
                # While the others were measured, the server may have closed the connection.
                server.disconnect()
                for number in range(5):
                    server.run(kind, number)
                before = server.cpu_seconds()
                for number in range(calls):
                    server.run(kind, number)
                rates[server.name, kind].append(calls / max(server.cpu_seconds() - before, 0.01))
    return rates


def report(servers, rates, rounds):
    lines = [f"{datetime.date.today()} · Linux {platform.machine()}; `make bench`. Requests per second of the server's CPU time: the "
             f"median of {rounds} rounds in turn, and the range. {USERS} users; ListUsers looks for one of them by the address. "
             "Narthex with TLS and SQLite on a disk; moto 5.2.5 does not check the proof of Secure Remote Password.", "",
             "| | " + " | ".join(CALLS) + " |", "|---" * (len(CALLS) + 1) + "|"]
    for server in servers:
        cells = []
        for kind in CALLS:
            of = rates[server.name, kind]
            cells.append(f"{statistics.median(of):.0f} ({min(of):.0f} to {max(of):.0f})")
        lines.append(f"| {server.name} | " + " | ".join(cells) + " |")
    pages = {kind: statistics.median(rates[servers[0].name, kind]) for kind in OWN_CALLS}
    lines += ["", f"{servers[0].name}'s pages, per second of CPU time: {pages['sign-in page']:.0f} sign-in pages, and "
              f"{pages['code login']:.1f} logins with a password from the authorization request to the tokens."]
    raw, own = statistics.median(rates["argon2id"]), servers[0].name
    share = {kind: statistics.median(rates[own, kind]) / raw for kind in ("password sign-in", "SRP sign-in")}
    lines += ["", f"argon2id alone (libargon2, the same parameters and core): {raw:.1f} hashes per second of CPU time. To that, {own}'s "
              f"sign-ins with a password: {share['password sign-in']:.2f}; with Secure Remote Password: {share['SRP sign-in']:.2f}."]
    return "\n".join(lines) + "\n"


def write_down(text):
    """Replaces the last report, and leaves the sections before and after it."""
    before, _, after = RESULTS.read_text().partition(f"\n{HEADING}\n")
    _, found, later = after.partition("\n# ")
    RESULTS.write_text(f"{before.rstrip()}\n\n{HEADING}\n\n{text}" + (f"\n# {later}" if found else ""))


def main():
    narthex, python = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).absolute()
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 7
    os.sched_setaffinity(0, {1})
    with tempfile.TemporaryDirectory() as folder:
        servers = start(narthex, python, pathlib.Path(folder))
        try:
            for server in servers:
                server.wait()
                server.fill()
            text = report(servers, measure(servers, python, rounds), rounds)
        finally:
            for server in servers:
                server.process.terminate()
            for server in servers:
                server.process.wait()
    print(text)
    write_down(text)


if __name__ == "__main__":
    main()
