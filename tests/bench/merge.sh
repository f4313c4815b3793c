#!/bin/sh
# merge.sh LX PYTHON SD_SCRIPTS [RUNS] - merging two rank-32 LoRAs of SD 1.5's sizes, as whole processes
#
# Times cp of the two inputs, cp of the result alone, that with sync (lx's result is on the disk, too, when it says so),
# lx merge (recorded and not) and the peer's networks/merge_lora.py in turn, so that all meet the same machine, and
# prints each one's least and median time and its processor time, and what share of the speed of each cp a merge has.
# None replaces a file: giving back the old one's pages takes longer than writing the new one's header.
# `LX_BENCH_WITH="chrt -f 1"` puts them before other programs (and before the kernel's own threads that write to the
# disk, which a recorded merge waits for). PYTHON has torch and safetensors. The
# files (37.9 MB in F16; 75.7 MB in F32 with LX_BENCH_DTYPE=float32) are made at random; the exact merge of both has
# twice the rank, so it is as large as they are together.
set -eu
lx=$(realpath "${1:?usage: merge.sh LX PYTHON SD_SCRIPTS [RUNS]}")
python=${2:?}
peer=$(realpath "${3:?}")
runs=${4:-5}
source=$(realpath "$(dirname "$0")/../..")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
cd "$work"
export LX_STORE="$work/store" PYTHONPATH="$peer" PYTHONDONTWRITEBYTECODE=1
"$python" - "$source/tests/golden/lora/modules_sd15.json" "${LX_BENCH_DTYPE:-float16}" <<'PY'
import json, sys
import torch
from safetensors.torch import save_file

dtype = getattr(torch, sys.argv[2])
for seed, name in enumerate("ab"):
    torch.manual_seed(seed)
    tensors = {}
    for module in json.load(open(sys.argv[1])):
        down, up = [32] + module["down"][1:], [module["up"][0], 32] + module["up"][2:]
        tensors[module["name"] + ".lora_down.weight"] = (torch.randn(down) * 0.03).to(dtype)
        tensors[module["name"] + ".lora_up.weight"] = (torch.randn(up) * 0.01).to(dtype)
        tensors[module["name"] + ".alpha"] = torch.tensor(16.0).to(dtype)
    save_file(tensors, name + ".safetensors", {"ss_base_model_version": "sd_v1"})
PY
precision=$([ "${LX_BENCH_DTYPE:-float16}" = float16 ] && echo fp16 || echo float)

# measure NAME COMMAND...: wall seconds and processor seconds of one run, into NAME.times
measure() {
    name=$1
    shift
    rm -f out.safetensors peer.safetensors copy.safetensors two/*
    # shellcheck disable=SC2086
    "$python" - "$name.times" ${LX_BENCH_WITH-} "$@" <<'PY'
import os, subprocess, sys, time
begin, cpu = time.monotonic(), os.times()
subprocess.run(sys.argv[2:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
end, after = time.monotonic(), os.times()
used = after.children_user + after.children_system - cpu.children_user - cpu.children_system
open(sys.argv[1], "a").write(f"{end - begin} {used}\n")
PY
}
mkdir two
merge="$lx merge a.safetensors:0.7 b.safetensors:0.4"
$merge --no_record -o whole.safetensors >/dev/null
i=0
while [ $i -lt "$runs" ]; do
    measure cp_inputs cp a.safetensors b.safetensors two
    measure cp_result cp whole.safetensors copy.safetensors
    measure cp_and_sync sh -c "cp whole.safetensors copy.safetensors && sync copy.safetensors"
    # shellcheck disable=SC2086
    measure lx $merge -o out.safetensors
    # shellcheck disable=SC2086
    measure lx_no_record $merge --no_record -o out.safetensors
    measure merge_lora.py "$python" "$peer/networks/merge_lora.py" --models a.safetensors b.safetensors \
        --ratios 0.7 0.4 --save_to peer.safetensors --precision float --save_precision "$precision"
    i=$((i + 1))
done
ls -l a.safetensors b.safetensors whole.safetensors peer.safetensors | awk '{print $5, $NF}'
for name in cp_inputs cp_result cp_and_sync lx lx_no_record merge_lora.py; do
    sort -n "$name.times" | awk -v name="$name" '{w[NR] = $1; c[NR] = $2}
        END {m = int((NR + 1) / 2)
             printf "%-14s least %.3f s, median %.3f s, processor %.3f s\n", name, w[1], w[m], c[m]}'
done
least() { sort -n "$1.times" | head -n 1 | cut -d ' ' -f 1; }
for name in lx lx_no_record; do
    echo "$name $(least "$name") $(least cp_inputs) $(least cp_result) $(least cp_and_sync)" |
        awk '{printf "%-14s by the least times: %.0f %% of the speed of cp of the two inputs, %.0f %% of that of cp of the result alone, %.0f %% when that is synced, too\n",
              $1, 100 * $3 / $2, 100 * $4 / $2, 100 * $5 / $2}'
done
