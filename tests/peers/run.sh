#!/bin/sh
# run.sh LX MAKE_CHECKPOINT CHECK.py - one check of lx's files by a peer's own code
#
# LX_PEERS names the folder that setup.sh made. Without it, or without the peer that the check needs,
# the last line reads "skipped: peers/CHECK: WHY" and the exit status is 77.
set -u

if [ $# -ne 3 ]; then
    echo "usage: run.sh LX MAKE_CHECKPOINT CHECK.py" >&2
    exit 2
fi
name=peers/$(basename "$3" .py)
skip() {
    echo "skipped: $name: $1 (tests/peers/README.md)"
    exit 77
}
[ -n "${LX_PEERS:-}" ] || skip "LX_PEERS is not set"
python=$LX_PEERS/venv/bin/python
"$python" -c 'import numpy, safetensors, torch' 2>/dev/null || skip "no torch in $LX_PEERS"
case $name in
*sd_scripts | */bf16 | */dropout | */record | */curves | */latents)
    [ -e "$LX_PEERS/sd-scripts/networks/lora.py" ] || skip "no sd-scripts in $LX_PEERS"
    ;;
*lycoris_networks)
    [ -e "$LX_PEERS/sd-scripts/networks/lora.py" ] || skip "no sd-scripts in $LX_PEERS"
    "$python" -c 'import lycoris' 2>/dev/null || skip "no LyCORIS in $LX_PEERS"
    ;;
*/sd3)
    [ -e "$LX_PEERS/sd-scripts/networks/lora_sd3.py" ] || skip "no sd-scripts in $LX_PEERS"
    "$python" -c 'import diffusers, peft' 2>/dev/null || skip "no diffusers with peft in $LX_PEERS"
    ;;
*diffusers*)
    "$python" -c 'import diffusers, peft' 2>/dev/null || skip "no diffusers with peft in $LX_PEERS"
    ;;
esac

LX=$(realpath "$1")
MAKE_CHECKPOINT=$(realpath "$2")
SOURCE=$(realpath "$(dirname "$0")/../..")
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
trap 'exit 130' INT TERM
export LX MAKE_CHECKPOINT SOURCE WORK LX_STORE="$WORK/store"
export PYTHONPATH="$LX_PEERS/sd-scripts${PYTHONPATH:+:$PYTHONPATH}" PYTHONDONTWRITEBYTECODE=1
export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1
"$python" -W ignore "$3"
