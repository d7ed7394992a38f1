#!/usr/bin/env bash
# Durable events a second of eventyard, NATS JetStream and RabbitMQ, in one run.
#
#   bench/peers.sh [--seconds N] …   options of the program `load`
#
# Starts both others on loopback (tests/services: the first time it builds one and installs the other), and stops
# what it started.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
services=tests/services
target=${CARGO_TARGET_DIR:-target}

[ -x "$target/release/eventyard" ] && [ -x "$target/release/load" ] || cargo build --release --locked -p eventyard -p eventyard-bench

peers=()
started=()
stop() { for name in "${started[@]}"; do "$services/$name.sh" wipe; done; }
trap stop EXIT

# begin NAME OPTION: starts it where it does not run, and notes where it listens.
begin() {
  local address
  "$services/$1.sh" pid >/dev/null || started+=("$1")
  address=$("$services/$1.sh" start)
  address=${address#*://}
  address=${address#*@}
  peers+=("$2" "${address%%/*},$("$services/$1.sh" pid)")
}

begin nats --nats
begin rabbitmq --amqp
"$target/release/load" peers --binary "$target/release/eventyard" "${peers[@]}" "$@"
