#!/bin/sh
# Builds the fuzz targets and runs them one after another. usage: run.sh TARGET_DIR SECONDS [TARGET…]
#
# Stable rustc instruments the code through LLVM's pass; libFuzzer comes with libfuzzer-sys. An input that breaks a
# property is written to fuzz/artifacts/TARGET; the corpus grows in TARGET_DIR and is used again.
set -eu
cd "$(dirname "$0")/.."
dir=$1
seconds=${2:-3600}
shift 2
[ $# -gt 0 ] || set -- $(ls fuzz/targets | sed 's/\.rs$//')

host=$(rustc -vV | sed -n 's/^host: //p')
flags="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
flags="$flags -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table"
flags="$flags -Cllvm-args=-sanitizer-coverage-trace-compares"
# With --target, build scripts and procedural macros are not instrumented.
RUSTFLAGS="$flags" cargo build --package narthex-fuzz --bins --profile fuzz --target "$host" --target-dir "$dir"

each=$((seconds / $#))
failed=""
for target in "$@"; do
  corpus="$dir/corpus/$target"
  artifacts="fuzz/artifacts/$target"
  mkdir -p "$corpus" "$artifacts"
  echo "== $target: $each s"
  "$dir/$host/fuzz/$target" "$corpus" "fuzz/seeds/$target" -artifact_prefix="$artifacts/" -max_total_time="$each" \
    -timeout=5 -rss_limit_mb=2048 -max_len=16384 -print_final_stats=1 2>"$dir/$target.log" || failed="$failed $target"
  grep -E 'panicked|DONE|ERROR|SUMMARY|Test unit written|stat::number_of_executed|stat::peak_rss' -A 1 "$dir/$target.log" || true
done
if [ -n "$failed" ]; then
  echo "inputs that broke a property are in fuzz/artifacts:$failed" >&2
  exit 1
fi
