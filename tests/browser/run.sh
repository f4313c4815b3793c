#!/bin/sh
# run.sh LX MAKE_RUN TEST.py - a test in a real browser (Chromium, headless, by selenium)
#
# Skips by name where python3-selenium, chromium or chromium-driver are not installed.
set -u
LX=$(realpath "$1") MAKE_RUN=$(realpath "$2") test=$(realpath "$3")
: "${LX_GOLDENS:=$(dirname "$test")/../golden}"
LX_GOLDENS=$(realpath -m "$LX_GOLDENS")
for python in python3 /usr/bin/python3 ""; do
    [ -n "$python" ] || { echo "skip: no python3 with selenium (python3-selenium)" >&2; exit 77; }
    "$python" -c 'import selenium' 2>/dev/null && break
done
for program in chromium chromedriver; do
    command -v $program >/dev/null || { echo "skip: no $program (chromium, chromium-driver)" >&2; exit 77; }
done
[ -d "$LX_GOLDENS/e2e/data/train" ] || { echo "skip: no $LX_GOLDENS/e2e/data/train" >&2; exit 77; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
export LX MAKE_RUN LX_GOLDENS HOME="$dir" LX_STORE="$dir/store" LC_ALL=C.UTF-8
cd "$dir" || exit 1
"$python" "$test"
