#!/bin/bash
# runs.sh [BUILD] [RUNS] [POINTS] - list, filter, sort and compare among many runs
#
# Fills a store in memory (/dev/shm) with RUNS (10,000) runs of two curves of POINTS (100) points and
# prints the medians of nine wall and processor times of each command, the start of the program
# included.
set -euo pipefail
build=${1-build/release}
runs=${2-10000}
points=${3-100}
dir=$(mktemp -d -p /dev/shm lx-bench-XXXXXX)
trap 'rm -rf "$dir"' EXIT
export LX_STORE="$dir/store" LC_ALL=C.UTF-8
TIMEFORMAT='%R %U %S'

time { "$build/tests/lx_bench_runs" "$LX_STORE" "$runs" "$points"; } 2>&1
echo "$runs runs of 2 x $points points, $(du -sm "$LX_STORE" | cut -f1) MB"
median() { sort -n | sed -n 5p; }
bench() {
    local name=$1
    shift
    for _ in 1 2 3 4 5 6 7 8 9; do
        { time "$build/lx" "$@" >"$dir/out" 2>"$dir/err"; } 2>>"$dir/times"
    done
    printf '%-40s %6.1f ms, %6.1f ms of the processor\n' "$name" \
        "$(awk '{ print $1 * 1000 }' "$dir/times" | median)" \
        "$(awk '{ print ($2 + $3) * 1000 }' "$dir/times" | median)"
    rm "$dir/times"
}
bench "the start alone (--version)" --version
bench "list: 20 newest, what differs" runs
bench "list: all, CSV" runs --all --csv
bench "filter: loss, flag, path" runs 'loss < 0.08 and dim = 4 and dataset ~ hifumi'
bench "filter: tag, date, least of a curve" runs 'tag = good and started > 2023-12-01 and min(loss) < 0.06'
bench "sort: by a flag and a loss" runs --sort -dim,loss --columns id,dim,loss
bench "filter and sort, JSON" runs 'status = failed' --sort min_loss -n 50 --json
bench "compare: two" compare lora-17 lora-18
bench "compare: nine" compare lora-10{0,1,2,3,4,5,6,7,8}
bench "sql: group by" sql "select value, count(*) from flags where key = 'network_dim' group by value"
