#!/usr/bin/env python3
"""Derives src/aws/model/cognito_idp.json from botocore's model of the service: operations, members, types,
bounds, patterns, enums and exceptions. No texts.

usage: tests/aws_model.py [--check]      with --check: fails if the committed file differs

botocore's version is the one of tests/parties/requirements.txt."""
import json
import pathlib
import re
import sys

import botocore.loaders

FILE = pathlib.Path(__file__).resolve().parent.parent / "src/aws/model/cognito_idp.json"
# What Rust's regular expressions lack, with an equivalent.
EQUIVALENT = {r"^[0-9A-Za-z\.\-_]*(?<!\.)$": r"([0-9A-Za-z._-]*[0-9A-Za-z_-])?"}
# Where the service accepts more than its model says: the domain of a pool may be a full host name.
WIDER = {"DomainType": {"max": 253, "pattern": None}}
# In Java these are of ASCII.
CLASSES = {r"\w": "0-9A-Za-z_", r"\d": "0-9", r"\s": r"\t\n\x0B\f\r "}


def pattern(java):
    """The pattern for Rust, without anchors: the whole value must match."""
    rest, rust, in_class, after_range = EQUIVALENT.get(java, java), "", False, False
    rest = rest.removeprefix("^").removesuffix("$")
    rest = rest.replace(r"[\S]", r"[^\s]")
    while rest:
        token = re.match(r"\\p\{\w+\}|\\x[0-9A-F]{2}|\\.|.", rest)[0]
        rest = rest[len(token):]
        if token in CLASSES:
            rust += CLASSES[token] if in_class else f"[{CLASSES[token]}]"
            after_range = True
            continue
        if not in_class:
            in_class = token == "["
            rust, after_range = rust + token, in_class
        elif token == "]":
            rust, in_class = rust + token, False
        elif token == "^" and rust.endswith("["):
            rust += token
        elif token == "-":
            # Literal at the start and the end of a class, and after a range or a class.
            is_literal = after_range or rest.startswith("]")
            rust += r"\-" if is_literal else token
            after_range = not is_literal
            if not is_literal:
                end = re.match(r"\\x[0-9A-F]{2}|\\.|.", rest)[0]
                rust, rest = rust + end, rest[len(end):]
        else:
            rust += "\\[" if token == "[" else token
            after_range = token.startswith(r"\p")
    return rust


def shape(name, of):
    compact = {"type": of["type"]}
    of = {fact: value for fact, value in {**of, **WIDER.get(name, {})}.items() if value is not None}
    if of.get("exception"):
        compact["exception"] = True
    if "members" in of:
        compact["members"] = {name: member["shape"] for name, member in of["members"].items()}
    if of.get("required"):
        compact["required"] = of["required"]
    for kind in ("member", "key", "value"):
        if kind in of:
            compact[kind] = of[kind]["shape"]
    for fact in ("min", "max", "enum", "sensitive", "document"):
        if fact in of:
            compact[fact] = of[fact]
    if "pattern" in of:
        compact["pattern"] = of["pattern"]
        compact["regex"] = pattern(of["pattern"])
        if compact["regex"] == compact["pattern"]:
            del compact["regex"]
    return compact


def operation(of):
    compact = {}
    if of.get("authtype") == "none":
        compact["unsigned"] = True
    for side in ("input", "output"):
        if side in of:
            compact[side] = of[side]["shape"]
    compact["errors"] = sorted(error["shape"] for error in of.get("errors", []))
    return compact


def table():
    model = botocore.loaders.Loader().load_service_model("cognito-idp", "service-2")
    parts = {
        "operations": {name: operation(of) for name, of in sorted(model["operations"].items())},
        "shapes": {name: shape(name, of) for name, of in sorted(model["shapes"].items())},
    }
    lines = []
    for part, entries in parts.items():
        rows = [f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in entries.items()]
        lines.append(f'"{part}": {{\n' + ",\n".join(rows) + "\n}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def main():
    derived = table()
    if sys.argv[1:] == ["--check"]:
        if FILE.read_text() != derived:
            sys.exit(f"{FILE} differs from botocore's model; help: run tests/aws_model.py")
    else:
        FILE.write_text(derived)


main()
