# A bundle that was changed or cut on the way is refused by name and leaves nothing.
make=$(dirname "$LX")/tests/make_run
data=$LX_GOLDENS/e2e/data/train
[ -x "$make" ] && [ -d "$data" ] || { echo "skip: no $make or no $data" >&2; exit 77; }
"$make" "$LX_STORE" "$data" hifumi && "$LX" export hifumi -o whole.lxb --quiet || exit 1
head -c 3000 whole.lxb >cut.lxb
"$LX" --store other import cut.lxb; echo "exit $?"
printf 'more' | cat whole.lxb - >longer.lxb
"$LX" --store other import longer.lxb; echo "exit $?"
printf 'no bundle' >text.lxb
"$LX" --store other import text.lxb; echo "exit $?"
"$LX" --store other import "$SOURCE/tests/badfiles/bundle_symlink_out.tar" 2>&1 | sed "s|$SOURCE/||"
"$LX" --store other runs --all --json
ls other/tmp 2>/dev/null
exit 0
