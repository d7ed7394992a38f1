#!/usr/bin/env bash
# A nats-server with JetStream that syncs before it acknowledges, built from source by Go.
# NATS_PORT (4322) and the one after it, for its health page, on loopback.
NAME=nats
PORT=${NATS_PORT:-4322}
VERSION=v2.15.2
# shellcheck source=tests/services/service.sh
. "$(dirname "${BASH_SOURCE[0]}")/service.sh"

install() {
  [ -x "$PROGRAMS/nats-server" ] && return
  say "go install nats-server $VERSION"
  GOBIN=$PROGRAMS nice go install "github.com/nats-io/nats-server/v2@$VERSION" >"$FOLDER/install.log" 2>&1 ||
    fail "go install failed; see $FOLDER/install.log"
}

launch() {
  ! listens "$PORT" || fail "somebody listens on port $PORT already; NATS_PORT names another"
  cat >"$FOLDER/server.conf" <<CONF
listen: 127.0.0.1:$PORT
http: 127.0.0.1:$((PORT + 1))
jetstream {
  store_dir: "$FOLDER/data"
  # The default syncs every two minutes: a power cut loses what was acknowledged since.
  sync_interval: always
}
CONF
  background "$PROGRAMS/nats-server" -c "$FOLDER/server.conf"
}

answers() { curl -sf "http://127.0.0.1:$((PORT + 1))/healthz" | grep -q '"ok"'; }

address() { echo "NATS_URL=nats://127.0.0.1:$PORT"; }

serve "$@"
