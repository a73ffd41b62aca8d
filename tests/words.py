#!/usr/bin/env python3
"""Finds words that comments, messages and documents must not hold; tests/words.toml has them, each with
what to write instead. Finds lines of comments that are too wide, which rustfmt does not wrap.

usage: tests/words.py [FOLDER…]      only these folders

It reads comments and string literals of Rust, and the text of Markdown outside of code."""
import pathlib
import re
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDERS = ["src", "tests", "benches", "docs", "README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"]
COMMENT = re.compile(r"//.*")
STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.S)
# What a specification or another program says stays as it is.
# The name of a variable in a format string.
PLACEHOLDER = re.compile(r"\{\w*[^{}]*\}")
QUOTE = re.compile(r"\"[^\"]*\"|`[^`]*`|“[^”]*”")


def rust(text):
    """The lines of a Rust file that are prose: number and text."""
    for number, line in enumerate(text.splitlines(), 1):
        comment = re.search(r"(?:^|\s)(//.*)", line)
        if comment:
            yield number, QUOTE.sub("", comment[1])
            line = line[: comment.start()]
        # A literal of one word is a name that a program compares.
        for literal in STRING.findall(line):
            if " " in literal:
                yield number, PLACEHOLDER.sub("", literal)


def markdown(text):
    fenced = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced:
            yield number, QUOTE.sub("", line)


def wide_comments(text, max_width):
    """The numbers of lines that are comments and wider than `max_width`."""
    lines = enumerate(text.splitlines(), 1)
    return [number for number, line in lines if len(line) > max_width and line.lstrip().startswith("//")]


def files(names):
    for name in names:
        path = ROOT / name
        for file in [path] if path.is_file() else sorted(path.rglob("*")):
            if file.suffix in (".rs", ".md") and "node_modules" not in file.parts and "target" not in file.parts:
                yield file


def main():
    table = tomllib.loads((ROOT / "tests/words.toml").read_text())
    words = {re.compile(rf"\b(?:{word['pattern']})\b", re.I): word["instead"] for word in table["word"]}
    allowed = {(entry["file"], entry["text"]) for entry in table.get("exception", [])}
    max_width, unchecked = table["comments"]["max_width"], tuple(table["comments"]["unchecked"])
    found = wide = 0
    for file in files(sys.argv[1:] or FOLDERS):
        name = str(file.relative_to(ROOT))
        prose = rust if file.suffix == ".rs" else markdown
        if file.suffix == ".rs" and not name.startswith(unchecked):
            for number in wide_comments(file.read_text(), max_width):
                wide += 1
                print(f"{name}:{number}: a comment is wider than {max_width} columns; help: wrap it")
        for number, text in prose(file.read_text()):
            if any(name == allowed_file and part in text for allowed_file, part in allowed):
                continue
            for pattern, instead in words.items():
                for match in pattern.findall(text):
                    found += 1
                    print(f"{name}:{number}: `{match}`; help: {instead}")
    if found or wide:
        sys.exit(f"{found} words, {wide} wide comments; tests/words.toml lists exceptions with their reasons")


if __name__ == "__main__":
    main()
