#!/bin/sh
# merge.sh LX PYTHON SD_SCRIPTS [RUNS] - merging two rank-32 LoRAs of SD 1.5's sizes, as whole processes
#
# Times cp of the two files, lx merge (recorded and not) and the peer's networks/merge_lora.py in turn, so that
# all meet the same machine, and prints each one's median and its processor time. PYTHON has torch and
# safetensors. The files (37.9 MB in F16; 75.7 MB in F32 with LX_BENCH_DTYPE=float32) are made at random.
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
    "$python" - "$name.times" "$@" <<'PY'
import os, subprocess, sys, time
begin, cpu = time.monotonic(), os.times()
subprocess.run(sys.argv[2:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
end, after = time.monotonic(), os.times()
used = after.children_user + after.children_system - cpu.children_user - cpu.children_system
open(sys.argv[1], "a").write(f"{end - begin} {used}\n")
PY
}
i=0
while [ $i -lt "$runs" ]; do
    rm -rf copy && mkdir copy
    measure cp cp a.safetensors b.safetensors copy
    measure lx "$lx" merge a.safetensors:0.7 b.safetensors:0.4 -o out.safetensors
    measure lx_no_record "$lx" merge a.safetensors:0.7 b.safetensors:0.4 --no_record -o out.safetensors
    measure merge_lora.py "$python" "$peer/networks/merge_lora.py" --models a.safetensors b.safetensors \
        --ratios 0.7 0.4 --save_to peer.safetensors --precision float --save_precision "$precision"
    i=$((i + 1))
done
ls -l a.safetensors b.safetensors out.safetensors peer.safetensors | awk '{print $5, $NF}'
for name in cp lx lx_no_record merge_lora.py; do
    sort -n "$name.times" | awk -v name="$name" '{w[NR] = $1; c[NR] = $2}
        END {m = int((NR + 1) / 2); printf "%-14s %.3f s, processor %.3f s\n", name, w[m], c[m]}'
done
