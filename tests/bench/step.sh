#!/bin/sh
# step.sh BUILD [options of lx_bench_step] - times one training step at full SD 1.5 size
#
# Makes a random checkpoint of the real sizes (2 GB, F16) in the build folder at first use.
set -eu
build=${1:?usage: step.sh BUILD [options]}
shift
checkpoint=$build/tests/fixtures/sd15.safetensors
if [ ! -e "$checkpoint" ]; then
    mkdir -p "$build/tests/fixtures"
    echo "making $checkpoint" >&2
    "$build/tests/make_checkpoint" sd15 "$checkpoint"
fi
exec "$build/tests/lx_bench_step" "$@" "$checkpoint"
