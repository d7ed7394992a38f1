#!/usr/bin/env bash
# From JetStream by a rule, durably, to JetStream, beside a bare loop of the same client.
#
#   bench/nats.sh [--messages N] [--size BYTES] [--rounds N] …   options of the program `bench-nats`
#
# Starts nats-server on loopback where it does not run (tests/services), and stops what it started.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
service=tests/services/nats.sh
target=${CARGO_TARGET_DIR:-target}

# With the others' features, so that one build serves all of them.
cargo build --release --locked --features amqp,kafka,nats
cargo build --release --locked -p eventyard-bench --features amqp,nats --bin bench-nats

"$service" pid >/dev/null || trap '"$service" stop' EXIT
address=$("$service" start | sed -n 's/^NATS_URL=//p')
"$target/release/bench-nats" --server "$address" --binary "$target/release/eventyard" --dir "$target" "$@"
