#!/bin/sh
# setup.sh DIR [SD_SCRIPTS] - PyTorch, diffusers and sd-scripts for the checks of this folder
#
# Makes DIR/venv with the versions of requirements.txt and DIR/sd-scripts: a link to the source tree
# SD_SCRIPTS, else a clone of v0.10.1. Needs python3-venv, git and about 2 GB. Then:
#     LX_PEERS=DIR ctest --test-dir build/release -R '^peers/' -V
set -eu

if [ $# -lt 1 ] || [ $# -gt 2 ]; then
    echo "usage: setup.sh DIR [SD_SCRIPTS]" >&2
    exit 2
fi
here=$(realpath "$(dirname "$0")")
mkdir -p "$1"
dir=$(realpath "$1")
[ -x "$dir/venv/bin/python" ] || python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q --extra-index-url https://download.pytorch.org/whl/cpu \
    -r "$here/requirements.txt"
if [ $# -eq 2 ]; then
    ln -sfn "$(realpath "$2")" "$dir/sd-scripts"
elif [ ! -e "$dir/sd-scripts" ]; then
    git clone -q --depth 1 --branch v0.10.1 https://github.com/kohya-ss/sd-scripts "$dir/sd-scripts"
fi
[ -e "$dir/sd-scripts/networks/lora.py" ] || {
    echo "setup.sh: $dir/sd-scripts has no networks/lora.py" >&2
    exit 1
}
echo "LX_PEERS=$dir"
