#!/usr/bin/env bash
# What the start scripts beside this one share; sourced by them, never run by itself.
#
# Each script starts one real server on 127.0.0.1 as a plain process: no container, no systemd. It takes one word:
#
#   start   install what is missing, start, wait until it answers, print how to reach it as KEY=VALUE
#   stop    end it, by the process id that was written down at the start
#   wipe    stop it and delete its data
#   pid     the process id; exit 1 where it does not run
#
# Programs are kept in EVENTYARD_SERVICES (~/.cache/eventyard-services), data, logs and process ids below it.
#
# A script sets NAME and defines install, launch (runs the server by `background`), answers and address, and where
# something is left over when the server has ended, after_stop.
set -euo pipefail

HOME_OF_SERVICES=${EVENTYARD_SERVICES:-${XDG_CACHE_HOME:-$HOME/.cache}/eventyard-services}
PATIENCE_SECONDS=${PATIENCE_SECONDS:-120} # for the first answer after a start, on a busy machine
STOP_SECONDS=30                           # between SIGTERM and SIGKILL

say() { echo "$NAME: $*" >&2; }
fail() { say "$*"; exit 1; }

# background COMMAND…: runs it in a session of its own, so that a Ctrl-C here does not reach it. What our caller has open
# (a lock, a pipe) is not the server's to hold on to.
background() {
  setsid "$@" >"$FOLDER/log" 2>&1 </dev/null 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- &
  echo $! >"$FOLDER/pid"
}

pid() { cat "$FOLDER/pid" 2>/dev/null; }
runs() { local it; it=$(pid) && kill -0 "$it" 2>/dev/null; }

# listens PORT: whether somebody on loopback takes connections there.
listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# debian PACKAGE…: installs what is missing, without letting the packages start anything.
debian() {
  local missing=() package
  for package in "$@"; do dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package"); done
  [ ${#missing[@]} -gt 0 ] || return 0
  [ "$(id -u)" = 0 ] || fail "as root: apt-get install ${missing[*]}"
  local refusal=/usr/sbin/policy-rc.d ours=no
  # Debian asks this file whether a service may be started; 101 says no.
  if [ ! -e $refusal ]; then printf '#!/bin/sh\nexit 101\n' >$refusal; chmod 755 $refusal; ours=yes; fi
  local status=0
  { compgen -G '/var/lib/apt/lists/*Packages*' || apt-get update; } >/dev/null
  DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 install -y --no-install-recommends \
    "${missing[@]}" >"$FOLDER/install.log" 2>&1 || status=$?
  if [ $ours = yes ]; then rm -f $refusal; fi
  [ $status = 0 ] || fail "apt-get failed; see $FOLDER/install.log"
}

start() {
  # Tests of several programs may start the same server at once. The lock is on 8, which the server does not inherit.
  exec 8>"$FOLDER/lock"
  flock 8
  install
  if ! runs; then
    launch
    local tenths=0
    until answers >/dev/null 2>&1; do
      runs || { tail -n 20 "$FOLDER/log" >&2; fail "it ended while starting"; }
      [ $((tenths += 1)) -lt $((PATIENCE_SECONDS * 10)) ] || { stop; fail "no answer in $PATIENCE_SECONDS s; see $FOLDER/log"; }
      sleep 0.1
    done
  fi
  address
}

stop() {
  if runs; then
    local it tenths=0
    it=$(pid)
    kill "$it"
    while kill -0 "$it" 2>/dev/null; do
      [ $((tenths += 1)) -lt $((STOP_SECONDS * 10)) ] || { say "does not stop: SIGKILL"; kill -9 "$it"; break; }
      sleep 0.1
    done
  fi
  rm -f "$FOLDER/pid"
  if declare -F after_stop >/dev/null; then after_stop; fi
}

# serve WORD: does what the script was asked.
serve() {
  # A second one beside it, for a test that kills it, has another name (and other ports).
  FOLDER=$HOME_OF_SERVICES/${EVENTYARD_SERVICE_NAME:-$NAME}
  PROGRAMS=$HOME_OF_SERVICES/bin
  mkdir -p "$FOLDER" "$PROGRAMS"
  case ${1:-} in
    start) start ;;
    stop) stop ;;
    wipe) stop; rm -rf "$FOLDER" ;;
    pid) runs && pid ;;
    *) echo "usage: $0 start|stop|wipe|pid" >&2; exit 2 ;;
  esac
}
