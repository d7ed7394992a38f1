#!/usr/bin/env bash
# Every figure of docs/benchmarks-end-to-end.md in one run of about ten minutes, on a machine that does nothing else.
#
#   bench/all.sh [--seconds N] [--dir FOLDER] …   options of the program `load`, for all of its cases
#
# Ends with what the store alone gives on the same disk, for comparison.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

date -u +%FT%TZ
target=${CARGO_TARGET_DIR:-target}
cargo build --release --locked -p eventyard -p eventyard-bench
"$target/release/load" --binary "$target/release/eventyard" "$@"
bench/peers.sh "$@"
cargo run --release --locked -p eventyard-store --example store_bench -- both target/load 64 15
