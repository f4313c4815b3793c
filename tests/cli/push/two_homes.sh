# Two homes push to and pull from one repository at the same time, and end equal.
make=$(dirname "$LX")/tests/make_run
data=$LX_GOLDENS/e2e/data/train
[ -x "$make" ] && [ -d "$data" ] || { echo "skip: no $make or no $data" >&2; exit 77; }
command -v git >/dev/null || { echo "skip: no git" >&2; exit 77; }
git init -q --bare runs.git || exit 1
"$make" one "$data" shared && "$LX" --store one push runs.git --quiet >/dev/null &&
    "$LX" --store two pull runs.git || exit 1
work() { # HOME: records, remarks on the shared run, pushes and pulls, again and again
    for i in 1 2 3 4 5 6; do
        "$make" "$1" "$data" "$1-$i" &&
            "$LX" --store "$1" note shared "note $i of $1" >/dev/null &&
            "$LX" --store "$1" push runs.git --quiet >/dev/null &&
            "$LX" --store "$1" pull runs.git >/dev/null || { echo "$1, round $i: exit $?"; return 1; }
    done
}
work one >one.log 2>&1 &
work two >two.log 2>&1
wait $!
cat one.log two.log
for round in 1 2; do
    for home in one two; do
        "$LX" --store $home push runs.git --quiet >/dev/null && "$LX" --store $home pull runs.git >/dev/null
    done
done
say() { # what a home holds, by run
    "$LX" --store $1 sql --csv "SELECT name, status, n_points FROM runs ORDER BY id"
    "$LX" --store $1 sql --csv "SELECT run, note FROM notes ORDER BY run, note"
    "$LX" --store $1 sql --csv "SELECT run, role, step, sha256 FROM artifacts ORDER BY run, role, step"
}
say one | sed 's/made by .*/made by/' >one.txt
say two | sed 's/made by .*/made by/' >two.txt
cmp one.txt two.txt || { diff one.txt two.txt; exit 1; }
grep -c 'note . of' one.txt
"$LX" --store one fsck >/dev/null && "$LX" --store two fsck >/dev/null || exit 1
# One version a run is left in the repository, and nobody's name.
git -C runs.git for-each-ref | wc -l
git -C runs.git fsck 2>&1 | grep -E 'error|missing|corrupt'
"$LX" --store three pull runs.git
if grep -rqa -e wren -e nest-7 three; then
    echo "a private name went along"
    exit 1
fi
exit 0
