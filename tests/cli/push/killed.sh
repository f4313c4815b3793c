# A push or pull that is killed at any moment harms neither side, and the next one goes on.
make=$(dirname "$LX")/tests/make_run
data=$LX_GOLDENS/e2e/data/train
[ -x "$make" ] && [ -d "$data" ] || { echo "skip: no $make or no $data" >&2; exit 77; }
command -v git >/dev/null || { echo "skip: no git" >&2; exit 77; }
git init -q --bare runs.git || exit 1
for name in a b c d; do
    "$make" one "$data" $name || exit 1
done
"$make" two "$data" e || exit 1
for i in $(seq 1 12); do
    timeout -s KILL "0.0$((i % 10))$((i / 10))" "$LX" --store one push runs.git >/dev/null 2>&1
    timeout -s KILL "0.0$((i % 9))$((i / 9))" "$LX" --store two pull runs.git >/dev/null 2>&1
    "$LX" --store one fsck >seen 2>&1 && "$LX" --store two fsck >>seen 2>&1 || { cat seen; exit 1; }
done
"$LX" --store one push runs.git >/dev/null 2>&1 && "$LX" --store two pull runs.git >/dev/null || exit 1
"$LX" --store two runs --all --json | grep -o '"id"' | wc -l
git -C runs.git fsck 2>&1 | grep -E 'error|missing|corrupt'
"$LX" --store one push runs.git
