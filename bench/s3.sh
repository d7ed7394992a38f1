#!/usr/bin/env bash
# How long 10,000 events of 1 KiB take to be objects of lines in a bucket, packed and not, five times each.
#
#   bench/s3.sh [minio|versitygw]
#
# Starts the store (MinIO where none is named) on loopback where it does not run (tests/services), and stops what it
# started. Every event counts when the store has confirmed the object that holds it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
service=tests/services/${1:-minio}.sh

cargo build --release --locked -p eventyard-connectors --features s3 --example s3_sink
"$service" pid >/dev/null || trap '"$service" stop' EXIT
said=$("$service" start)
while IFS='=' read -r key value; do export "$key=$value"; done <<<"$said"
"${CARGO_TARGET_DIR:-target}/release/examples/s3_sink"
