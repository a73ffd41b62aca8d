#!/usr/bin/env python3
"""Writes src/directory/password/common_passwords.bin from the list of common passwords in Django.

usage: python3 -m venv VENV && VENV/bin/pip install django==5.2.19 && VENV/bin/python tests/common_passwords.py

Each entry is the first 4 bytes of the SHA-256 digest of a password in lower case. Passwords shorter than
6 characters are left out: no policy accepts them. The result depends on Django's version alone."""
import gzip
import hashlib
import pathlib

import django.contrib.auth

MINIMUM_LENGTH = 6
ENTRY_BYTES = 4
TARGET = pathlib.Path(__file__).resolve().parent.parent / "src/directory/password/common_passwords.bin"


def main():
    source = pathlib.Path(django.contrib.auth.__file__).parent / "common-passwords.txt.gz"
    with gzip.open(source, "rt", encoding="utf-8") as lines:
        passwords = {line.strip().lower() for line in lines}
    entries = {
        hashlib.sha256(password.encode()).digest()[:ENTRY_BYTES]
        for password in passwords
        if len(password) >= MINIMUM_LENGTH
    }
    TARGET.write_bytes(b"".join(sorted(entries)))
    print(f"{len(entries)} entries")


if __name__ == "__main__":
    main()
