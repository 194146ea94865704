#!/bin/sh
# Makes build/{{name}}.module.wasm, a core module. No part of WASI is left in it: only memory and strings of the C
# library are used.
set -eu
cd "$(dirname "$0")"
mkdir -p build
${CC:-clang-19} --target=wasm32-wasi -mexec-model=reactor -std=c11 -Os -flto -Wl,--strip-all -Wall -Wextra -Werror \
    -Wno-unused-parameter -o build/{{name}}.module.wasm ./*.c bindings/*.c
