# Home folders, names and addresses are not in what is shared, and it says what was taken out.
make=$(dirname "$LX")/tests/make_run
data=$LX_GOLDENS/e2e/data/train
[ -x "$make" ] && [ -d "$data" ] || { echo "skip: no $make or no $data" >&2; exit 77; }
"$make" "$LX_STORE" "$data" hifumi || exit 1
for format in html md json; do
    "$LX" report hifumi --no-images --format $format >report.$format || exit 1
    if grep -nE 'wren|nest-7|example.net' report.$format; then
        exit 1
    fi
done
grep -E 'times?, written as' report.md | grep -v 'folders'
"$LX" report hifumi --no-images --no-scrub --format md >kept.md || exit 1
grep -c 'wren' kept.md
grep 'Nothing was taken out' kept.md
