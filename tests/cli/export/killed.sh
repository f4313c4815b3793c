# An import that is killed at any moment leaves a sound store, and the next one completes it.
make=$(dirname "$LX")/tests/make_run
data=$LX_GOLDENS/e2e/data/train
[ -x "$make" ] && [ -d "$data" ] || { echo "skip: no $make or no $data" >&2; exit 77; }
for name in a b c d e f; do
    "$make" "$LX_STORE" "$data" $name || exit 1
done
"$LX" export --all -o runs.lxb --quiet && "$LX" export a -o first.lxb --quiet || exit 1
"$LX" --store other import first.lxb >/dev/null || exit 1
for i in $(seq 1 20); do
    timeout -s KILL "0.0$((i % 10))$((i / 10))" "$LX" --store other import runs.lxb >/dev/null 2>&1
    "$LX" --store other fsck >seen 2>&1 || { cat seen; exit 1; }
done
"$LX" --store other import runs.lxb >/dev/null && "$LX" --store other fsck >/dev/null || exit 1
"$LX" --store other runs --all --json | grep -o '"id"' | wc -l
