#!/bin/sh
# Makes build/{{name}}.module.wasm, a core module. Go's runtime asks WASI for time, chance and its arguments, and writes
# what it panics about: wrapping (with --wasi) adapts that.
set -eu
cd "$(dirname "$0")"
mkdir -p build
GOOS=wasip1 GOARCH=wasm GOFLAGS=-mod=mod GOPROXY=off go build -buildmode=c-shared -trimpath -ldflags='-s -w' \
    -o build/{{name}}.module.wasm .
