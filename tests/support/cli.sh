#!/bin/sh
# cli.sh [--update] LX CASE.sh - run one case of tests/cli
#
# The case runs by sh in an empty folder that is removed afterwards, with nothing of the user's:
# HOME, XDG_DATA_HOME and LX_STORE lie in that folder. It finds the binary in $LX, the sources in
# $SOURCE and the goldens in $LX_GOLDENS. What it prints and its exit status are compared with
# CASE.stdout, CASE.stderr and CASE.exit where these exist (no CASE.exit: 0); the folder's path reads
# as DIR there, and what --verbose says of the sandbox is left out (it depends on the kernel). --update writes the files anew, for review. A case that lacks something says
# "skip: REASON" on standard error and exits 77.
set -u

update=false
if [ "${1-}" = --update ]; then
    update=true
    shift
fi
if [ $# -ne 2 ]; then
    echo "usage: cli.sh [--update] LX CASE.sh" >&2
    exit 2
fi
LX=$(realpath "$1") || exit 2
case=$(realpath "$2") || exit 2
stem=${case%.sh}
SOURCE=$(realpath "$(dirname "$0")/../..")
: "${LX_GOLDENS:=$SOURCE/tests/golden}"
LX_GOLDENS=$(realpath -m "$LX_GOLDENS")
dir=$(realpath "$(mktemp -d)")
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM
mkdir "$dir/home" "$dir/work"
export LX SOURCE LX_GOLDENS
export HOME="$dir/home" XDG_DATA_HOME="$dir/home/data" LX_STORE="$dir/store"
export LC_ALL=C.UTF-8 COLUMNS=80 TERM=dumb
# Tests run side by side: a thread that waits must not burn the processor the other one needs.
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}"
unset NO_COLOR XDG_CONFIG_HOME

(cd "$dir/work" && sh "$case") >"$dir/stdout" 2>"$dir/stderr" </dev/null
status=$?
if [ $status -eq 77 ] && grep '^skip: ' "$dir/stderr" >&2; then
    exit 77
fi
for stream in stdout stderr; do
    sed "s|$dir/work|DIR|g; s|$dir|DIR|g; /^sandbox: /d" "$dir/$stream" >"$dir/$stream.seen"
done

if $update; then
    for stream in stdout stderr; do
        cp "$dir/$stream.seen" "$stem.$stream"
        [ -s "$stem.$stream" ] || rm "$stem.$stream"
    done
    rm -f "$stem.exit"
    [ $status -eq 0 ] || echo $status >"$stem.exit"
    exit 0
fi
wanted=0
[ ! -e "$stem.exit" ] || wanted=$(cat "$stem.exit")
failed=false
for stream in stdout stderr; do
    [ -e "$stem.$stream" ] || continue
    diff -u --label "wanted $stream" --label "got $stream" "$stem.$stream" "$dir/$stream.seen" ||
        failed=true
done
if [ $status -ne "$wanted" ]; then
    echo "exit status $status, wanted $wanted"
    cat "$dir/stdout.seen" "$dir/stderr.seen"
    failed=true
fi
! $failed
