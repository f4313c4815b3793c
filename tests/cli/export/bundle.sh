# Two runs go into one file and come out of it in another store: once, whole, scrubbed.
make=$(dirname "$LX")/tests/make_run
data=$LX_GOLDENS/e2e/data/train
[ -x "$make" ] && [ -d "$data" ] || { echo "skip: no $make or no $data" >&2; exit 77; }
"$make" "$LX_STORE" "$data" hifumi && "$make" "$LX_STORE" "$data" second || exit 1
"$LX" export hifumi second hifumi -o runs.lxb --quiet || exit 1
"$LX" export --all -o again.lxb --quiet && cmp runs.lxb again.lxb || exit 1
"$LX" --store other import runs.lxb | sed 's/  *[0-9a-f]\{10\} / ID /'
"$LX" --store other import runs.lxb | tail -n 1
"$LX" --store other fsck | sed 's/.* is/the store is/; s/: .*//'
"$LX" --store other show hifumi --json >shown
if grep -rqa -e wren -e nest-7 other shown; then
    echo "a private name is in the other store"
    exit 1
fi
"$LX" export second --no-scrub -o kept.lxb --quiet && "$LX" --store third import kept.lxb | tail -n 1
"$LX" --store third show second --json | grep -c '/home/wren'
"$LX" import runs.lxb | tail -n 1
