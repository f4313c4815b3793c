# Lines that repeat, and a file of zeros, pack better than import takes from others: what is exported is read all the same.
"$LX" run -q --name yes -- sh -c 'yes | head -c 30000000' >/dev/null || exit 1
head -c 20000000 /dev/zero >zeros
id=$("$LX" log --new zeros --file zeros --end finished) || exit 1
for run in yes zeros; do
    "$LX" export $run -o $run.lxb --quiet || exit 1
    [ "$(wc -c <$run.lxb)" -lt 100000 ] || echo "$run.lxb is not packed"
    "$LX" --store other import $run.lxb | tail -n 1
done
"$LX" export --all -o all.lxb --quiet && "$LX" export --all -o again.lxb --quiet && cmp all.lxb again.lxb
"$LX" --store third import all.lxb | tail -n 1
"$LX" --store third fsck | sed 's/.* is/the store is/; s/: .*//'
"$LX" --store third sql "select role, size from artifacts order by role" --csv
# A store that lost it is mended from it.
python3 -c 'import sqlite3' 2>/dev/null || { echo "skip: no python3" >&2; exit 77; }
python3 - <<'PY'
import sqlite3
with sqlite3.connect("third/store.db") as db:
    db.execute("PRAGMA foreign_keys = OFF")
    db.execute("UPDATE object SET data = x'00' WHERE size = 20000000")
PY
"$LX" --store third fsck --repair-from zeros.lxb | sed "s/[0-9a-f]\{64\}/HASH/g; s/run [0-9a-f]\{16\}/run ID/; s/is sound: .*/is sound/"
