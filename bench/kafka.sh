#!/usr/bin/env bash
# From Kafka by a rule, durably, to Kafka, beside a bare loop of the same client.
#
#   bench/kafka.sh [--messages N] [--size BYTES] [--rounds N] …   options of the program `bench-kafka`
#
# Starts Kafka on loopback where it does not run (tests/services), and stops what it started.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
service=tests/services/kafka.sh
target=${CARGO_TARGET_DIR:-target}

cargo build --release --locked --features kafka
cargo build --release --locked -p eventyard-bench --features kafka --bin bench-kafka

"$service" pid >/dev/null || trap '"$service" stop' EXIT
address=$("$service" start | sed -n 's/^KAFKA_BROKERS=//p')
"$target/release/bench-kafka" --brokers "$address" --binary "$target/release/eventyard" --dir "$target" "$@"
