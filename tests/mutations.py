#!/usr/bin/env python3
"""Mutation tests: applies each mutation of tests/mutations.toml and expects its test to fail.

usage: tests/mutations.py [--sample N] [WORDS…]      only mutations whose names contain one of the words;
                                                     N of them, chosen at random
       tests/mutations.py --check                    only whether each text occurs exactly once

Works on a copy in the target folder. Fails if a test passes with a mutation, or if the text of a
mutation does not occur exactly once in its file."""
import argparse
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import time
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
COPY = TARGET / "mutations" / "copy"
# Longer than any of these tests takes; a test that hangs with a mutation has failed, too.
TIMEOUT_SECONDS = 180


def copy_tree():
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    COPY.mkdir(parents=True, exist_ok=True)
    names = [name for name in files.decode().split("\0") if name and (ROOT / name).exists()]
    # A renamed file must not remain under its old name.
    for old in COPY.rglob("*"):
        if old.is_file() and str(old.relative_to(COPY)) not in names:
            old.unlink()
    for name in names:
        source, to = ROOT / name, COPY / name
        to.parent.mkdir(parents=True, exist_ok=True)
        if not to.exists() or to.read_bytes() != source.read_bytes():
            shutil.copyfile(source, to)


def cargo(*arguments, seconds=None):
    environment = dict(os.environ, CARGO_TARGET_DIR=str(TARGET / "mutations" / "build"), RUST_BACKTRACE="0")
    environment.setdefault("NARTHEX_PARTIES", str(TARGET / "parties"))
    command = ["cargo", "test", "--quiet", *arguments]
    with subprocess.Popen(
        command, cwd=COPY, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=seconds)
            return process.returncode, output
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 15)
            return 1, "timeout: " + process.communicate()[0]


def pattern(code):
    """Matches `code` with any line breaks. rustfmt adds a trailing comma when it breaks a list."""
    tokens = [re.escape(token) for token in re.findall(r"\w+|[^\w\s]", code)]
    closing = [re.escape(bracket) for bracket in ")]}"]
    return re.compile(r"\s*".join(r",?\s*" + token if token in closing else token for token in tokens))


def spans(code, text):
    """Returns the positions of `code` in `text`: of the exact text, or else with any line breaks."""
    if text.count(code) == 1:
        start = text.index(code)
        return [(start, start + len(code))]
    return [match.span() for match in pattern(code).finditer(text)]


def check(mutation):
    file = COPY / mutation["file"]
    text = file.read_text()
    found = spans(mutation["find"], text)
    if len(found) != 1:
        return f"its text occurs {len(found)} times in {mutation['file']}"
    [(start, end)] = found
    file.write_text(text[:start] + mutation["replace"] + text[end:])
    try:
        where = ["--lib"] if mutation["test"].startswith("lib::") else ["--test", mutation.get("binary", "it")]
        built, output = cargo(*where, "--no-run")
        if built != 0:
            return "compilation fails with it:\n" + output[-2000:]
        test = mutation["test"].removeprefix("lib::")
        code, output = cargo(*where, test, "--", "--exact", seconds=TIMEOUT_SECONDS)
        if "running 0 tests" in output and "running 1 test" not in output:
            return f"there is no test {test}"
        return None if code != 0 else f"{test} passes with it"
    finally:
        file.write_text(text)


def check_texts(mutations):
    """Prints the mutations whose text does not occur exactly once. Returns their number."""
    problems = 0
    for mutation in mutations:
        file = ROOT / mutation["file"]
        count = len(spans(mutation["find"], file.read_text())) if file.exists() else 0
        if count != 1:
            problems += 1
            print(f"{mutation['name']}: its text occurs {count} times in {mutation['file']}")
    return problems


def main():
    mutations = tomllib.loads((ROOT / "tests/mutations.toml").read_text())["mutation"]
    parser = argparse.ArgumentParser()
    parser.add_argument("--sample", type=int)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("words", nargs="*", type=str.lower)
    arguments = parser.parse_args()
    if arguments.check:
        sys.exit(check_texts(mutations) > 0)
    if arguments.words:
        mutations = [m for m in mutations if any(word in m["name"].lower() for word in arguments.words)]
    if arguments.sample:
        mutations = random.sample(mutations, min(arguments.sample, len(mutations)))
    copy_tree()
    failures = 0
    for number, mutation in enumerate(mutations, 1):
        started_at = time.monotonic()
        problem = check(mutation)
        failures += problem is not None
        result = "its test fails" if problem is None else f"PROBLEM: {problem}"
        print(f"{number}/{len(mutations)} {mutation['name']}: {result} ({time.monotonic() - started_at:.0f} s)", flush=True)
    print(f"{len(mutations) - failures} of {len(mutations)} mutations are found by their tests")
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
