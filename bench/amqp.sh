#!/usr/bin/env bash
# From RabbitMQ by a rule, durably, to RabbitMQ, beside a bare loop of the same client.
#
#   bench/amqp.sh [--messages N] [--size BYTES] [--rounds N] …   options of the program `bench-amqp`
#
# Starts RabbitMQ on loopback where it does not run (tests/services), and stops what it started.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
service=tests/services/rabbitmq.sh
target=${CARGO_TARGET_DIR:-target}

# With the others' features, so that one build serves all of them.
cargo build --release --locked --features amqp,kafka,nats
cargo build --release --locked -p eventyard-bench --features amqp,nats --bin bench-amqp

"$service" pid >/dev/null || trap '"$service" stop' EXIT
address=$("$service" start | sed -n 's/^AMQP_URL=//p')
"$target/release/bench-amqp" --server "$address" --binary "$target/release/eventyard" --dir "$target" "$@"
