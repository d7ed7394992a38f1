#!/bin/sh
# Compiles both functions. On Debian: apt-get install clang lld wasi-libc libclang-rt-14-dev-wasm32; Go from go.dev.
set -eu
cd "$(dirname "$0")"
mkdir -p functions
clang --target=wasm32-wasi -O2 -o functions/filter-c.wasm c/filter.c
GOOS=wasip1 GOARCH=wasm go build -ldflags="-s -w" -o functions/filter-go.wasm go/filter.go
ls -l functions
