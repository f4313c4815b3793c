# A push or pull that is killed at any moment harms neither side, and the next one goes on: what was pushed
# or pulled once stays. LX_TEST_KILLS sets how many (200).
make=$(dirname "$LX")/tests/make_run
data=$LX_GOLDENS/e2e/data/train
[ -x "$make" ] && [ -d "$data" ] || { echo "skip: no $make or no $data" >&2; exit 77; }
command -v git >/dev/null || { echo "skip: no git" >&2; exit 77; }
git init -q --bare runs.git || exit 1
for name in a b c; do
    "$make" one "$data" $name || exit 1
done
"$make" two "$data" d || exit 1
count() { # STORE: runs in it
    "$LX" --store $1 sql --csv "SELECT count(*) FROM runs" | tail -n 1
}
i=0 kills=${LX_TEST_KILLS:-200} there=0 pulled=1
while [ $i -lt $kills ]; do
    i=$((i + 1))
    [ $((i % 4)) -ne 0 ] || "$make" one "$data" more-$i || exit 1
    "$LX" --store one note a "round $i" >/dev/null
    timeout -s KILL "0.0$((i % 10))$((i / 10 % 10))" "$LX" --store one push runs.git >/dev/null 2>&1
    timeout -s KILL "0.0$((i % 9))$((i / 9 % 10))" "$LX" --store two pull runs.git >/dev/null 2>&1
    now=$(git -C runs.git for-each-ref --format='%(refname)' refs/lx | cut -d/ -f4 | sort -u | wc -l)
    [ "$now" -ge "$there" ] || { echo "round $i: $there runs were in the repository, and $now are"; exit 1; }
    there=$now
    now=$(count two)
    [ "$now" -ge "$pulled" ] || { echo "round $i: $pulled runs were in the second store, and $now are"; exit 1; }
    pulled=$now
    # All that is checked is checked every time, but in a long loop.
    [ $kills -le 50 ] || [ $((i % 10)) -eq 0 ] || continue
    "$LX" --store one fsck >seen 2>&1 && "$LX" --store two fsck >>seen 2>&1 || { cat seen; exit 1; }
    git -C runs.git fsck 2>&1 | grep -E 'error|missing|corrupt'
done
"$LX" --store one push runs.git >/dev/null 2>&1 && "$LX" --store two pull runs.git >/dev/null || exit 1
[ "$(count two)" -eq "$(($(count one) + 1))" ] || echo "$(count one) runs in one, $(count two) in two"
[ "$("$LX" --store two sql "SELECT count(*) FROM notes WHERE note LIKE 'round%'" | tail -n 1 | tr -d ' ')" -eq $kills ] || echo "notes are missing"
"$LX" --store one fsck >/dev/null && "$LX" --store two fsck >/dev/null || exit 1
git -C runs.git fsck 2>&1 | grep -E 'error|missing|corrupt'
# A lock of a ref that a killed push left behind.
ref=$(git -C runs.git for-each-ref --format='%(refname)' refs/lx | head -n 1)
git -C runs.git update-ref -d "$ref" && mkdir -p "runs.git/${ref%/*}" && : >"runs.git/$ref.lock" && rm -r one/remotes
"$LX" --store one push runs.git >/dev/null 2>&1 || echo "a lock that was left behind: exit $?"
"$LX" --store one push runs.git | sed 's/[0-9][0-9]*/N/g'
