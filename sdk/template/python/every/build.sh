#!/bin/sh
# Makes build/{{name}}.wasm out of policy.py. Nothing of WASI is left in it: no clock, no randomness, no files.
set -eu
cd "$(dirname "$0")"
mkdir -p build
componentize-py --quiet --wit-path wit/v1 --world {{policy}} componentize --stub-wasi --output build/{{name}}.wasm policy
