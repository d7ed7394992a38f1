#!/usr/bin/env bash
# MinIO, built from source by Go: the first build takes ten minutes or so, and is kept.
# MINIO_PORT (9270) on loopback; there is no console. MINIO_WEBHOOK is the address of a webhook
# ("" = none) that a bucket's notifications go to by the name arn:minio:sqs::1:webhook, with MINIO_WEBHOOK_TOKEN in
# their Authorization header. Other targets are MinIO's own variables, which it is given as they are (MINIO_NOTIFY_KAFKA_…);
# their servers must run before it. MINIO_INSTANCE names a second copy beside the first.
NAME=minio${MINIO_INSTANCE:-}
PORT=${MINIO_PORT:-9270}
# The last state that was published; there are no numbered releases of the Go module any more.
VERSION=v0.0.0-20260212201848-7aac2a2c5b7c
# shellcheck source=tests/services/service.sh
. "$(dirname "${BASH_SOURCE[0]}")/service.sh"

install() {
  [ -x "$PROGRAMS/minio" ] && return
  say "go install minio $VERSION, for ten minutes or so"
  # Elsewhere first: whoever finds it may start it.
  GOBIN=$FOLDER/built nice go install "github.com/minio/minio@$VERSION" >"$FOLDER/install.log" 2>&1 ||
    fail "go install failed; see $FOLDER/install.log"
  mv "$FOLDER/built/minio" "$PROGRAMS/minio"
}

launch() {
  ! listens "$PORT" || fail "somebody listens on port $PORT already; MINIO_PORT names another"
  local webhook=()
  if [ -n "${MINIO_WEBHOOK:-}" ]; then
    # A target that does not answer at the start is taken only with a folder to keep its events in.
    mkdir -p "$FOLDER/unsent"
    webhook=(
      MINIO_NOTIFY_WEBHOOK_ENABLE_1=on "MINIO_NOTIFY_WEBHOOK_ENDPOINT_1=$MINIO_WEBHOOK"
      "MINIO_NOTIFY_WEBHOOK_AUTH_TOKEN_1=${MINIO_WEBHOOK_TOKEN:-}" "MINIO_NOTIFY_WEBHOOK_QUEUE_DIR_1=$FOLDER/unsent"
    )
  fi
  mkdir -p "$FOLDER/data"
  background env MINIO_ROOT_USER=eventyard MINIO_ROOT_PASSWORD=eventyard-secret MINIO_UPDATE=off \
    MINIO_BROWSER=off "${webhook[@]}" \
    "$PROGRAMS/minio" server --address "127.0.0.1:$PORT" "$FOLDER/data"
}

answers() { curl -sf "http://127.0.0.1:$PORT/minio/health/ready"; }

address() {
  echo "S3_ENDPOINT=http://127.0.0.1:$PORT"
  echo "AWS_ACCESS_KEY_ID=eventyard"
  echo "AWS_SECRET_ACCESS_KEY=eventyard-secret"
}

serve "$@"
