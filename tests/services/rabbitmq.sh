#!/usr/bin/env bash
# RabbitMQ from Debian, with a data folder of its own and nothing off loopback.
# RABBITMQ_PORT (5722) for AMQP; the two after it for Erlang's own traffic and for epmd, its list of nodes.
NAME=rabbitmq
PORT=${RABBITMQ_PORT:-5722}
# shellcheck source=tests/services/service.sh
. "$(dirname "${BASH_SOURCE[0]}")/service.sh"

install() { debian rabbitmq-server; }

launch() {
  ! listens "$PORT" || fail "somebody listens on port $PORT already; RABBITMQ_PORT names another"
  local server
  # Not Debian's wrapper in /usr/sbin, which changes to another user and to /var/lib.
  server=$(compgen -G '/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server' | tail -n 1)
  echo "listeners.tcp.1 = 127.0.0.1:$PORT" >"$FOLDER/rabbitmq.conf"
  echo '[].' >"$FOLDER/enabled_plugins"
  # It leaves what it dumps where it was started.
  cd "$FOLDER"
  # Erlang's cookie lies in HOME.
  background env HOME="$FOLDER" \
    RABBITMQ_NODENAME="eventyard$PORT@localhost" \
    RABBITMQ_CONF_ENV_FILE=/dev/null \
    RABBITMQ_CONFIG_FILE="$FOLDER/rabbitmq" \
    RABBITMQ_ENABLED_PLUGINS_FILE="$FOLDER/enabled_plugins" \
    RABBITMQ_MNESIA_BASE="$FOLDER/data" \
    RABBITMQ_LOG_BASE="$FOLDER/logs" \
    RABBITMQ_GENERATED_CONFIG_DIR="$FOLDER/generated" \
    RABBITMQ_DIST_PORT=$((PORT + 1)) \
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-kernel inet_dist_use_interface {127,0,0,1}' \
    ERL_EPMD_ADDRESS=127.0.0.1 ERL_EPMD_PORT=$((PORT + 2)) \
    "$server"
}

# Erlang starts it where it is not there, and leaves it behind; this one is ours alone.
after_stop() { if listens $((PORT + 2)); then epmd -port $((PORT + 2)) -kill >/dev/null || true; fi; }

answers() { listens "$PORT"; }

address() { echo "AMQP_URL=amqp://guest:guest@127.0.0.1:$PORT/%2f"; }

# ctl WORD…: asks the server by its own tool.
if [ "${1:-}" = ctl ]; then
  shift
  HOME=$HOME_OF_SERVICES/${EVENTYARD_SERVICE_NAME:-$NAME} RABBITMQ_CONF_ENV_FILE=/dev/null ERL_EPMD_PORT=$((PORT + 2)) \
    exec "$(compgen -G '/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmqctl' | tail -n 1)" -n "eventyard$PORT@localhost" "$@"
fi

serve "$@"
