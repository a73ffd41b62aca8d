#!/bin/sh
# Builds the documentation, and fails on a warning. usage: book.sh MDBOOK FOLDER
set -eu
log=$(mktemp)
trap 'rm -f "$log"' EXIT
"$1" build docs --dest-dir "$2" >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
if grep -E '(WARN|ERROR)' "$log" >&2; then
  echo "book.sh: the documentation has warnings" >&2
  exit 1
fi
echo "The book is $2/index.html"
