# What strangers wrote into captions, names, notes and flags acts nowhere.
make=$(dirname "$LX")/tests/make_run
data=$LX_GOLDENS/e2e/data/train
[ -x "$make" ] && [ -d "$data" ] || { echo "skip: no $make or no $data" >&2; exit 77; }
"$make" "$LX_STORE" "$data" x hostile || exit 1
id=$("$LX" runs --json | grep -o '"id": *"[0-9a-f]*' | grep -o '[0-9a-f]*$')
"$LX" report "$id" -o a.html 2>/dev/null && "$LX" report "$id" -o a.md 2>/dev/null &&
    "$LX" report "$id" -o a.json 2>/dev/null || exit 1
escape=$(printf '\033')
bell=$(printf '\007')
for file in a.html a.md a.json a.files/*.svg; do
    if grep -q "[$escape$bell]" "$file"; then
        echo "$file: a control character"
        exit 1
    fi
done
if grep -qE '<script>alert|<img src=x' a.html a.files/*.svg; then
    echo "a.html or a chart: markup of a stranger"
    exit 1
fi
grep -c '<script>' a.html
[ "$(wc -c <a.html)" -lt 1000000 ] || echo "a.html: the line of a megabyte is in it whole"
