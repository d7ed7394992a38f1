#!/usr/bin/env bash
# From a queue by a rule, durably, to a queue of the same server, beside a bare loop of the same client.
#
#   bench/queue.sh kafka|amqp|nats [--messages N] [--size BYTES] [--rounds N] …   options of the program `bench-NAME`
#
# Starts Kafka, RabbitMQ or nats-server on loopback where it does not run (tests/services), and stops what it started.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
name=${1:-}
case $name in
  kafka) service=kafka address=KAFKA_BROKERS ;;
  amqp) service=rabbitmq address=AMQP_URL ;;
  nats) service=nats address=NATS_URL ;;
  *) echo "say which: bench/queue.sh kafka|amqp|nats" >&2; exit 2 ;;
esac
shift
service=tests/services/$service.sh
target=${CARGO_TARGET_DIR:-target}

# With the others' features, so that one build serves all of them.
cargo build --release --locked --features amqp,kafka,nats
cargo build --release --locked -p eventyard-bench --features amqp,kafka,nats --bin "bench-$name"

"$service" pid >/dev/null || trap '"$service" stop' EXIT
server=$("$service" start | sed -n "s/^$address=//p")
"$target/release/bench-$name" --server "$server" --binary "$target/release/eventyard" --dir "$target" "$@"
