#!/bin/sh
# roofline.sh BUILD [THREADS] - every kernel at SD 1.5's shapes, and every second of a step, against the
# machine's peak, which is measured in the same run
#
# First each kernel in f32 and in bf16 (lx_bench_kernels), then a training step at 512 x 512 in both: where
# its seconds go by op, beside what the peak would allow for the op's operations or bytes, whichever takes
# longer (tests/bench/step.sh --profile 1).
set -eu
build=${1:?usage: roofline.sh BUILD [THREADS]}
threads=${2:-2}
here=$(dirname "$0")
"$build/tests/lx_bench_kernels" "$threads" "" f32
"$build/tests/lx_bench_kernels" "$threads" "" bf16
for precision in no bf16; do
    "$here/step.sh" "$build" --threads "$threads" --steps 3 --profile 1 --mixed_precision "$precision"
done
