#!/bin/sh
# trackers.sh LX MAKE_RUN - what `lx export` writes, read by TensorBoard and MLflow themselves
#
# LX_TRACKERS names a venv with both:
#     python3 -m venv DIR && DIR/bin/pip install tensorboard mlflow
# Without it the last line reads "skipped: peers/trackers: WHY" and the exit status is 77.
set -u

if [ $# -ne 2 ]; then
    echo "usage: trackers.sh LX MAKE_RUN" >&2
    exit 2
fi
skip() {
    echo "skipped: peers/trackers: $1 (tests/peers/README.md)"
    exit 77
}
[ -n "${LX_TRACKERS:-}" ] || skip "LX_TRACKERS is not set"
python=$LX_TRACKERS/bin/python
"$python" -c 'import tensorboard, mlflow' 2>/dev/null || skip "no tensorboard with mlflow in $LX_TRACKERS"
here=$(realpath "$(dirname "$0")")
LX=$(realpath "$1")
MAKE_RUN=$(realpath "$2")
DATA=$here/../golden/e2e/data/train
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
trap 'exit 130' INT TERM
export LX MAKE_RUN DATA WORK LX_STORE="$WORK/store" PYTHONDONTWRITEBYTECODE=1
export MLFLOW_DISABLE_TELEMETRY=true DO_NOT_TRACK=true
"$python" -W ignore "$here/trackers.py"
