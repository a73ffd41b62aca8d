#!/usr/bin/env python3
"""Scans the demo's TLS with testssl.sh and sslyze. Fails on findings that are not listed here.

usage: tests/scan.py NARTHEX PYTHON_WITH_SSLYZE"""
import json
import pathlib
import subprocess
import sys
import tempfile
import time

# Findings about a certificate of the local authority, and intended settings; the threat model explains each.
EXPLAINED = {
    "cert_chain_of_trust", "cert_revocation", "DNS_CAArecord", "HSTS", "cipher_order",
    # A message about testssl.sh's own openssl.
    "engine_problem",
}
PORT = "9443"


def main():
    narthex, python = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        running = subprocess.Popen(
            [pathlib.Path(narthex).resolve(), "run", "--demo-port", PORT], cwd=folder,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )
        try:
            for line in running.stdout:
                if "Open   https://" in line:
                    break
            problems = testssl(pathlib.Path(folder)) + sslyze(python)
        finally:
            running.terminate()
            running.wait()
    for problem in problems:
        print(problem)
    print(f"{len(problems)} unexpected findings")
    sys.exit(bool(problems))


def testssl(folder):
    command = next(name for name in ("testssl", "testssl.sh") if subprocess.run(["which", name], capture_output=True).returncode == 0)
    out, started_at = folder / "found.json", time.monotonic()
    subprocess.run(
        [command, "--quiet", "--color", "0", "--warnings", "off", "--openssl-timeout", "5", "--connect-timeout", "5",
         "--jsonfile", out, "--ip", "127.0.0.1", f"https://app.localhost:{PORT}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, timeout=900,
    )
    found = json.loads(out.read_text())
    print(f"testssl.sh: {len(found)} findings in {time.monotonic() - started_at:.0f} s")
    assert len(found) > 100, "testssl.sh did not finish"
    return [
        f"testssl.sh: {one['severity']} {one['id']}: {one['finding']}"
        for one in found
        if one["severity"] not in ("OK", "INFO") and one["id"] not in EXPLAINED
    ]


def sslyze(python):
    output = subprocess.run(
        [python, "-m", "sslyze", "--mozilla_config=intermediate", "--sni", "app.localhost", f"127.0.0.1:{PORT}"],
        capture_output=True, text=True, timeout=600,
    ).stdout
    compliance = output.split("Checking results against Mozilla's")[1]
    print("sslyze: compared with Mozilla's intermediate configuration")
    return [f"sslyze: {line.strip(' *')}" for line in compliance.splitlines()
            if line.strip().startswith("*") and "certificate_path_validation" not in line]


main()
