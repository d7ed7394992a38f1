#!/usr/bin/env bash
# Patterns × events by libFuzzer: inputs are changed and kept by the branches that they reach, and for each the matcher
# and the simple evaluator have to say the same.
#
#   rules/fuzz/run.sh [SECONDS] [OPTION…]   libFuzzer's options, such as -jobs=2; SECONDS (default: 60)
#
# What it finds on its way is kept in target/fuzz/corpus, what fails in target/fuzz, as a file that it can be called with
# again. Builds with the stable toolchain and needs a C++ compiler.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
seconds=${1:-60}
shift || true
folder=${CARGO_TARGET_DIR:-target}/fuzz
mkdir -p "$folder/corpus"

# What cargo-fuzz passes, without a sanitizer: those take a nightly toolchain, and there is no unsafe code here to look at.
counters='-Cpasses=sancov-module'
for argument in level=4 inline-8bit-counters pc-table trace-compares; do
  counters+=" -Cllvm-args=-sanitizer-coverage-$argument"
done
host=$(rustc -vV | sed -n 's/^host: //p')
RUSTFLAGS="$counters --cfg fuzzing" cargo build --quiet --release --locked --manifest-path rules/fuzz/Cargo.toml --target-dir "$folder" --target "$host"
"$folder/$host/release/patterns" -max_total_time="$seconds" -dict=rules/fuzz/words.dict -artifact_prefix="$folder/" "$@" "$folder/corpus" rules/fuzz/seeds
