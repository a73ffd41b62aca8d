#!/usr/bin/env python3
"""Writes vectors.json: password hashes made by other implementations than Narthex's.

usage: python3 -m venv VENV
       VENV/bin/pip install passlib==1.7.4 'bcrypt==4.0.1' argon2-cffi==25.1.0 pynacl django==5.2.19 \\
           werkzeug==3.1.9 firebase-scrypt==0.1.0 pycryptodome
       VENV/bin/python tests/password_hashes/generate.py

Salts are random: each run writes other hashes. The formats of Keycloak and of ASP.NET Identity are built
from their documentation with hashlib and argon2-cffi, since their own libraries are not in Python."""
import base64
import hashlib
import json
import os
import pathlib
import struct

import argon2
import django
import firebase_scrypt
import nacl.pwhash.scrypt
import werkzeug.security
from django.conf import settings
from django.contrib.auth import hashers
from passlib import hash as passlib

PASSWORDS = ["Xk9!vZqw-Narthex", "Grüße aus Köln 9!", "p" * 80]
TARGET = pathlib.Path(__file__).resolve().parent / "vectors.json"

settings.configure()
django.setup()


def b64(data):
    return base64.b64encode(data).decode()


def keycloak(data, value, salt):
    secret = {"value": b64(value), "salt": b64(salt), "additionalParameters": {}}
    credential = {"type": "password", "secretData": json.dumps(secret, separators=(",", ":")), "credentialData": json.dumps(data)}
    return json.dumps(credential)


def keycloak_pbkdf2(name, digest, iterations, length):
    def make(password):
        salt = os.urandom(16)
        value = hashlib.pbkdf2_hmac(digest, password.encode(), salt, iterations, length)
        return keycloak({"hashIterations": iterations, "algorithm": name, "additionalParameters": {}}, value, salt)

    return make


def keycloak_argon2(password):
    salt = os.urandom(16)
    value = argon2.low_level.hash_secret_raw(password.encode(), salt, 5, 7168, 1, 32, argon2.low_level.Type.ID)
    parameters = {"hashLength": ["32"], "memory": ["7168"], "type": ["id"], "version": ["1.3"], "parallelism": ["1"]}
    return keycloak({"hashIterations": 5, "algorithm": "argon2", "additionalParameters": parameters}, value, salt)


def aspnet_v2(password):
    salt = os.urandom(16)
    return b64(b"\0" + salt + hashlib.pbkdf2_hmac("sha1", password.encode(), salt, 1000, 32))


def aspnet_v3(number, digest, iterations):
    def make(password):
        salt = os.urandom(16)
        key = hashlib.pbkdf2_hmac(digest, password.encode(), salt, iterations, 32)
        return b64(b"\1" + struct.pack(">III", number, iterations, len(salt)) + salt + key)

    return make


def phc_pbkdf2(password):
    salt = os.urandom(16)
    key = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 1000, 64)
    return f"$pbkdf2-sha512$i=1000,l=64${b64(salt).rstrip('=')}${b64(key).rstrip('=')}"


def firebase(password):
    salt, separator, signer = os.urandom(16), b"\x0a", os.urandom(64)
    derived = firebase_scrypt.generate_derived_key(password, salt, separator, 8, 10)
    result = firebase_scrypt.encrypt(signer, derived)
    return f"$firescrypt$ln=10,r=8,p=1${b64(salt)}${b64(result)}${b64(separator)}${b64(signer)}"


def argon(kind, version=19):
    def make(password):
        return argon2.low_level.hash_secret(
            password.encode(), os.urandom(16), 2, 256, 2, 32, getattr(argon2.low_level.Type, kind), version=version
        ).decode()

    return make


def without_version(password):
    return argon("I", 16)(password).replace("$v=16", "")


def django_hash(hasher, **fields):
    hasher = hasher()
    for name, value in fields.items():
        setattr(hasher, name, value)
    return lambda password: hasher.encode(password, hasher.salt())


def werkzeug_hash(method):
    return lambda password: werkzeug.security.generate_password_hash(password, method)


FORMATS = {
    "argon2id, PHC": argon("ID"),
    "argon2i, PHC": argon("I"),
    "argon2d, PHC": argon("D"),
    "argon2i of version 1.0": without_version,
    "argon2, Django": django_hash(hashers.Argon2PasswordHasher, time_cost=1, memory_cost=512, parallelism=1),
    "bcrypt 2b, passlib": passlib.bcrypt.using(rounds=4).hash,
    "bcrypt 2a, passlib": passlib.bcrypt.using(rounds=4, ident="2a").hash,
    "bcrypt 2y, passlib": passlib.bcrypt.using(rounds=4, ident="2y").hash,
    "bcrypt, Django": django_hash(hashers.BCryptPasswordHasher, rounds=4),
    "bcrypt_sha256, Django": django_hash(hashers.BCryptSHA256PasswordHasher, rounds=4),
    "pbkdf2-sha1, passlib": passlib.pbkdf2_sha1.using(rounds=1000).hash,
    "pbkdf2-sha256, passlib": passlib.pbkdf2_sha256.using(rounds=1000).hash,
    "pbkdf2-sha512, passlib": passlib.pbkdf2_sha512.using(rounds=1000).hash,
    "pbkdf2-sha512, PHC": phc_pbkdf2,
    "pbkdf2_sha256, Django": django_hash(hashers.PBKDF2PasswordHasher, iterations=1000),
    "pbkdf2_sha1, Django": django_hash(hashers.PBKDF2SHA1PasswordHasher, iterations=1000),
    "pbkdf2, Werkzeug": werkzeug_hash("pbkdf2:sha256:1000"),
    "pbkdf2, Keycloak": keycloak_pbkdf2("pbkdf2", "sha1", 1000, 64),
    "pbkdf2-sha256, Keycloak": keycloak_pbkdf2("pbkdf2-sha256", "sha256", 1000, 64),
    "pbkdf2-sha512, Keycloak": keycloak_pbkdf2("pbkdf2-sha512", "sha512", 1000, 64),
    "argon2, Keycloak": keycloak_argon2,
    "pbkdf2, ASP.NET Identity 2": aspnet_v2,
    "pbkdf2, ASP.NET Identity 3, SHA-256": aspnet_v3(1, "sha256", 1000),
    "pbkdf2, ASP.NET Identity 3, SHA-512": aspnet_v3(2, "sha512", 1000),
    "scrypt, passlib": passlib.scrypt.using(rounds=10).hash,
    "scrypt 7, passlib": passlib.scrypt.using(rounds=10, ident="$7$").hash,
    "scrypt 7, libsodium": lambda password: nacl.pwhash.scrypt.str(password.encode(), opslimit=32768, memlimit=2**24).decode(),
    "scrypt, Django": django_hash(hashers.ScryptPasswordHasher, work_factor=1024),
    "scrypt, Werkzeug": werkzeug_hash("scrypt:1024:8:1"),
    "scrypt, Firebase": firebase,
}


def main():
    vectors = [
        {"format": name, "password": password, "hash": make(password)}
        for name, make in FORMATS.items()
        for password in PASSWORDS
    ]
    TARGET.write_text(json.dumps(vectors, indent=1, ensure_ascii=False) + "\n")
    print(f"{len(vectors)} vectors")


if __name__ == "__main__":
    main()
