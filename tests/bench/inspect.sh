#!/bin/bash
# inspect.sh [BUILD] [FILES] - lx inspect on a folder of LoRA files, beside a Python loop over the same
#
# Fills a folder with FILES (1400) files by $LX_GOLDENS/lora/make_many.py (sparse: 180 MB on disk), then
# takes turns: the whole of `lx inspect DIR`, caption verdicts and all, and the loop alone (start of
# Python and imports left out) that opens each file with safetensors and asks for its metadata. Prints
# the medians of nine turns and their ratio. PYTHON names an interpreter that has safetensors.
set -euo pipefail
build=${1-build/release}
files=${2-1400}
dir=$(mktemp -d "${TMPDIR:-/tmp}/lx-bench-XXXXXX")
trap 'rm -rf "$dir"' EXIT
python=${PYTHON-python3}
"$python" "${LX_GOLDENS:?is needed: make_many.py is there}/lora/make_many.py" "$dir/loras" --n "$files"
cat >"$dir/loop.py" <<'PY'
import os, sys, time
from safetensors import safe_open
start, n = time.perf_counter(), 0
for folder, _, names in os.walk(sys.argv[1]):
    for name in sorted(names):
        try:
            with safe_open(os.path.join(folder, name), "np") as f:
                n += bool(f.metadata() or True)
        except Exception:
            pass
print(time.perf_counter() - start)
PY
median() { sort -n | sed -n 5p; }
for turn in 0 1 2 3 4 5 6 7 8 9; do
    begin=$EPOCHREALTIME
    { /usr/bin/time -f '%U %S %M' "$build/lx" inspect "$dir/loras" >/dev/null 2>"$dir/err" || true; }
    end=$EPOCHREALTIME
    [ $turn -eq 0 ] && continue # the first one warms up
    echo "$begin $end $(tail -n 1 "$dir/err")" | awk '{ print $2 - $1, $3, $4, $5 }' >>"$dir/lx"
    "$python" "$dir/loop.py" "$dir/loras" >>"$dir/python"
done
lx=$(awk '{ print $1 }' "$dir/lx" | median)
peer=$(median <"$dir/python")
printf 'lx inspect DIR             %7.3f s, %.3f s of the processors, %.1f MB\n' "$lx" \
    "$(awk '{ print $2 + $3 }' "$dir/lx" | median)" \
    "$(awk '{ print $4 / 1024 }' "$dir/lx" | median)"
printf 'Python, safe_open+metadata %7.3f s\n' "$peer"
awk "BEGIN { printf \"ratio %.1f\\n\", $peer / $lx }"
