#!/usr/bin/env python3
"""Loads a Narthex for as long as is said, over TLS, while its certificate and its file change every minute; what came out
is put into benches/RESULTS.md.

usage: benches/soak.py NARTHEX [MINUTES]

Two loads go on side by side: HTTP/1.1 with tokens of a trusted issuer, of more people than are remembered, so that the
memory of tokens is full from the beginning, and with tokens that were never seen and some that must open nothing; and HTTP/2
with tokens of the user pool that are got anew as they end. Any request that fails, any line of the log above `info`, a
certificate or a file that does not take effect within ten seconds, and memory that grows is a failure."""
import collections
import datetime
import http.client
import json
import os
import pathlib
import re
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benches" / "RESULTS.md"
HEADING = "# A soak"
SECRET = "0123456789abcdef0123456789abcdef"
# Maximum seconds until a change takes effect.
SOON = 10
# Requests per second of each load.
RATES = {"HTTP/1.1": 400, "HTTP/2": 100}
# More tokens than fit in half a gibibyte.
PEOPLE = 200_000
# Maximum relative growth of memory in an hour, after all bounded caches are full.
GROWTH = 0.03


def main():
    narthex = pathlib.Path(sys.argv[1]).resolve()
    minutes = float(sys.argv[2]) if len(sys.argv) > 2 else 56
    with tempfile.TemporaryDirectory() as folder:
        soak = Soak(narthex, pathlib.Path(folder))
        try:
            soak.start()
            soak.run(minutes)
        finally:
            soak.stop()
        report, sound = soak.report(minutes)
    print(report)
    write_down(report)
    sys.exit(not sound)


def write_down(report):
    """In the place of the last soak's report."""
    rest = RESULTS.read_text().split(f"\n{HEADING}\n")[0].rstrip() if RESULTS.exists() else ""
    RESULTS.write_text(f"{rest}\n\n{HEADING}\n{report}")


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Soak:
    def __init__(self, narthex, folder):
        self.narthex, self.folder = narthex, folder
        self.https, self.admin, self.upstream = free_port(), free_port(), free_port()
        self.running, self.loads, self.samples = [], {}, []
        self.slowest = {"certificate": 0.0, "file": 0.0}
        self.problems = []

    def start(self):
        self.make_authority()
        self.new_certificate(1)
        self.app()
        # Creates the issuer's key and key set; no server runs yet.
        self.load("HTTP/1.1", 1, "--issuer", "issuer")
        self.loads.pop("HTTP/1.1")[0].communicate()
        (self.folder / "policy.json").write_text(json.dumps({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": "execute-api:Invoke",
             "Resource": "arn:aws:execute-api:us-east-1:123456789012:photos/$default/GET/photos/*"}]}))
        self.write_file(0)
        self.log = open(self.folder / "log", "wb")
        self.process = subprocess.Popen(
            [self.narthex, "run", "--config", "narthex.toml"], cwd=self.folder, stderr=self.log, stdout=subprocess.DEVNULL,
            env={name: value for name, value in os.environ.items() if name != "NARTHEX_LOG"})
        self.running.append(self.process)
        self.wait("it listens", lambda: self.answer("minute0.example.com") == 200, 60)

    def app(self):
        config = self.folder / "nginx.conf"
        config.write_text(
            f"daemon off; master_process off; pid {self.folder}/pid; error_log stderr error;\n"
            "events { worker_connections 1024; }\nhttp { access_log off;\n"
            + "".join(f" {kind}_temp_path {self.folder}/{kind};" for kind in
                      ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
            + f"\n keepalive_requests 100000000;\n server {{ listen 127.0.0.1:{self.upstream};\n"
            "  location / { return 200 \"hello, world\\n\"; } }\n}\n")
        self.running.append(subprocess.Popen(["nginx", "-c", config, "-e", "stderr"]))

    def openssl(self, *words):
        subprocess.run(["openssl", *words], cwd=self.folder, check=True, capture_output=True)

    def make_authority(self):
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        self.openssl("req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=Soak")
        self.openssl("req", *curve, "-keyout", "tls.key", "-out", "tls.csr", "-subj", "/CN=example.com")
        (self.folder / "ext").write_text("subjectAltName=DNS:*.example.com\nextendedKeyUsage=serverAuth\n")

    def new_certificate(self, serial):
        self.openssl("x509", "-req", "-in", "tls.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-set_serial", str(serial),
                     "-days", "1", "-extfile", "ext", "-out", "new.pem")
        os.replace(self.folder / "new.pem", self.folder / "tls.pem")

    def write_file(self, minute):
        text = f"""public_url = "https://auth.example.com"
[listen]
https = "127.0.0.1:{self.https}"
http = "off"
admin = "127.0.0.1:{self.admin}"
[[tls]]
hosts = ["*.example.com"]
cert = "tls.pem"
key = "tls.key"
[[issuer]]
name = "load"
url = "https://load.invalid"
audience = "load"
jwks = "issuer/jwks.json"
[[user_pool]]
signing_algorithm = "ES256"
[[user_pool.resource_server]]
identifier = "photos"
scopes = ["read"]
[[user_pool.client]]
name = "reporter"
id = "reporter"
secret = "{SECRET}"
allowed_oauth_flows = ["client_credentials"]
allowed_oauth_scopes = ["photos/read"]
access_token_validity = "5m"
[[role]]
name = "reader"
policies = ["policy.json"]
[[identity_pool]]
name = "main"
authenticated_role = "reader"
[identity_pool.principal_tags]
mail = "email"
[[route]]
name = "photos"
host = "photos.example.com"
upstream = "http://127.0.0.1:{self.upstream}"
access = "policy"
bearer = true
[[route]]
name = "minute"
host = "minute{minute}.example.com"
upstream = "http://127.0.0.1:{self.upstream}"
access = "public"
"""
        (self.folder / "new.toml").write_text(text)
        os.replace(self.folder / "new.toml", self.folder / "narthex.toml")

    def connect(self, host):
        context = ssl.create_default_context(cafile=self.folder / "ca.pem")
        return context.wrap_socket(socket.create_connection(("127.0.0.1", self.https), 5), server_hostname=host)

    def answer(self, host):
        """The status that a host answers; none where nobody does."""
        try:
            with self.connect(host) as stream:
                stream.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
                answer = http.client.HTTPResponse(stream)
                answer.begin()
                return answer.status
        except OSError:
            return None

    def serial(self):
        with self.connect("photos.example.com") as stream:
            return int(stream.getpeercert()["serialNumber"], 16)

    def wait(self, what, holds, seconds=SOON):
        """How long it took until something was so."""
        begun = time.monotonic()
        while not holds():
            if time.monotonic() - begun > seconds:
                self.problems.append(f"{what}: not within {seconds} s")
                break
            time.sleep(0.1)
        return time.monotonic() - begun

    def load(self, name, seconds, *words):
        command = [
            self.narthex, "load", "--json", "--connect-to", f"127.0.0.1:{self.https}", "--cacert", "ca.pem",
            "--rate", str(RATES[name]), "--until", str(RATES[name]), "--step-time", str(seconds), "--connections", "8",
            *words, "https://photos.example.com/photos/1", "https://photos.example.com/photos/2?size=large"]
        out = open(self.folder / f"load-{len(self.loads)}", "w+")
        self.loads[name] = (subprocess.Popen(
            command, cwd=self.folder, stdout=out, stderr=subprocess.PIPE, text=True,
            env=dict(os.environ, NARTHEX_LOAD_CLIENT_SECRET=SECRET)), out)

    def run(self, minutes):
        seconds = round(minutes * 60)
        self.load("HTTP/1.1", seconds, "--issuer", "issuer", "--users", str(PEOPLE), "--unseen", "30", "--bad", "1")
        self.load("HTTP/2", seconds, "--http2", "--client-id", "reporter", "--scope", "photos/read", "--users", "200",
                  "--token-endpoint", "https://auth.example.com/oauth2/token")
        begun, minute = time.monotonic(), 0
        while any(load.poll() is None for load, _ in self.loads.values()):
            self.sample(minute)
            minute += 1
            self.new_certificate(minute + 1)
            took = self.wait(f"certificate {minute}", lambda: self.serial() == minute + 1)
            self.slowest["certificate"] = max(self.slowest["certificate"], took)
            self.sleep_until(begun + 60 * minute - 30)
            self.write_file(minute)
            took = self.wait(f"file {minute}", lambda: self.answer(f"minute{minute}.example.com") == 200)
            self.slowest["file"] = max(self.slowest["file"], took)
            if self.answer(f"minute{minute - 1}.example.com") == 200:
                self.problems.append(f"minute {minute}: the host of the last one is still served")
            self.sleep_until(begun + 60 * minute)
            print(f"minute {minute}: {self.samples[-1]}", flush=True)
        self.sample(minute)
        self.changes = minute

    def sleep_until(self, moment):
        while time.monotonic() < moment and any(load.poll() is None for load, _ in self.loads.values()):
            time.sleep(0.2)

    def sample(self, minute):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        of = lambda name: int(re.search(rf"^{name}:\s+(\d+)", status, re.M)[1])
        files = len(os.listdir(f"/proc/{self.process.pid}/fd"))
        self.samples.append({"minute": minute, "mib": of("VmRSS") / 1024, "threads": of("Threads"), "files": files})

    def stop(self):
        loads = [load for load, _ in self.loads.values()]
        for process in reversed(self.running + loads):
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    self.problems.append(f"{process.args[0]} did not end")

    def report(self, minutes):
        lines = [
            "", f"{datetime.date.today()}; `make soak`, {minutes:.0f} minutes. The certificate was exchanged "
            f"{self.changes} times, which took {self.slowest['certificate']:.1f} s at most to be served, and the file "
            f"{self.changes} times, which took {self.slowest['file']:.1f} s at most to count.", "",
            "| | requests | failed | let in wrongly | p50, p99, p99.9, longest in ms |", "|---|---|---|---|---|"]
        sound = True
        for name, (load, out) in self.loads.items():
            out.seek(0)
            try:
                told = json.load(out)
            except ValueError:
                self.problems.append(f"{name}: {load.stderr.read()}")
                continue
            (row,) = told["rows"]
            times = ", ".join(f"{row[part] / 1000:.1f}" for part in ("p50", "p99", "p999", "max"))
            failures = sum(count for _, count in row["failures"])
            lines.append(f"| {name} | {row['good'] + failures} | {failures} | {row['let_in']} | {times} |")
            if failures or row["let_in"] or load.returncode:
                self.problems.append(f"{name}: {json.dumps(row)}")
        # The first quarter is the time in which bounded caches fill.
        steady = self.samples[len(self.samples) // 4:]
        memory = [sample["mib"] for sample in steady]
        slope, _ = statistics.linear_regression([sample["minute"] for sample in steady], memory)
        growth = slope * 60 / statistics.median(memory)
        lines += [
            "", f"Memory from minute {steady[0]['minute']} on: {min(memory):.0f} to {max(memory):.0f} MiB, median "
            f"{statistics.median(memory):.0f}; its line grows by {100 * growth:.2f} % an hour. Open files: "
            f"{min(one['files'] for one in steady)} to {max(one['files'] for one in steady)}; threads: "
            f"{min(one['threads'] for one in steady)} to {max(one['threads'] for one in steady)}.", "",
            "MiB each fifth minute: " + ", ".join(f"{sample['mib']:.0f}" for sample in self.samples[::5]) + "."]
        if growth > GROWTH:
            self.problems.append(f"memory grows by {100 * growth:.2f} % an hour")
        self.log.close()
        told = collections.Counter()
        for line in (self.folder / "log").read_text().splitlines():
            line = json.loads(line)
            if line["level"] not in ("INFO", "DEBUG"):
                told[f"{line['level']} {json.dumps(line.get('fields', line))}"] += 1
        self.problems += [f"{count} times in the log: {line}" for line, count in told.items()]
        lines += ["", "No error." if not self.problems else "What went wrong:", ""]
        lines += [f"- {problem}" for problem in self.problems]
        return "\n".join(lines).rstrip() + "\n", not self.problems


main()
