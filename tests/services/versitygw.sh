#!/usr/bin/env bash
# Versity's S3 gateway over a plain folder, built from source by Go: a light S3 server that speaks a dialect of its own.
# VERSITYGW_PORT (7270) on loopback. Its events are those of the whole gateway and go to one place:
# VERSITYGW_WEBHOOK, the address of a webhook ("" = nowhere). VERSITYGW_INSTANCE names a second copy beside the first.
NAME=versitygw${VERSITYGW_INSTANCE:-}
PORT=${VERSITYGW_PORT:-7270}
VERSION=v1.8.0
# shellcheck source=tests/services/service.sh
. "$(dirname "${BASH_SOURCE[0]}")/service.sh"

install() {
  [ -x "$PROGRAMS/versitygw" ] && return
  say "go install versitygw $VERSION"
  GOBIN=$PROGRAMS nice go install "github.com/versity/versitygw/cmd/versitygw@$VERSION" >"$FOLDER/install.log" 2>&1 ||
    fail "go install failed; see $FOLDER/install.log"
}

launch() {
  ! listens "$PORT" || fail "somebody listens on port $PORT already; VERSITYGW_PORT names another"
  local events=()
  [ -z "${VERSITYGW_WEBHOOK:-}" ] || events=(--event-webhook-url "$VERSITYGW_WEBHOOK")
  mkdir -p "$FOLDER/data"
  background "$PROGRAMS/versitygw" --port "127.0.0.1:$PORT" --access eventyard --secret eventyard-secret \
    --health /health "${events[@]}" posix "$FOLDER/data"
}

answers() { curl -sf "http://127.0.0.1:$PORT/health"; }

address() {
  echo "S3_ENDPOINT=http://127.0.0.1:$PORT"
  echo "AWS_ACCESS_KEY_ID=eventyard"
  echo "AWS_SECRET_ACCESS_KEY=eventyard-secret"
}

serve "$@"
