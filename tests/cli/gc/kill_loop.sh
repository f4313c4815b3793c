# kill -9 of lx gc --prune at many moments: the store stays sound, what a run reaches stays, and in the end only that
# is left. LX_TEST_KILLS sets how many (200).
command -v sqlite3 >/dev/null || { echo "skip: no sqlite3" >&2; exit 77; }
export LX_STORE=$PWD/store
add() { # NAME: a run with a file of its own and one in the database
    head -c 90000 /dev/urandom >large
    id=$("$LX" log --new "$1" --kind train --flag "text=$1 $(seq 1 200 | tr '\n' ' ')") &&
        awk 'BEGIN { for (i = 1; i <= 5000; i++) print "step=" i, "loss=" 1 / i }' | "$LX" log "$id" - &&
        "$LX" log "$id" --file large --role sample && "$LX" log "$id" --end finished || exit
}
age() { # as if all of it were a month old
    sqlite3 store/store.db "PRAGMA busy_timeout=5000; UPDATE object SET added=added-30*86400; UPDATE remark SET at=at-30*86400" >/dev/null
}
facts() {
    "$LX" sql "SELECT name, n_points FROM runs WHERE name LIKE 'kept%' ORDER BY name"
    "$LX" sql "SELECT a.run, a.sha256 FROM artifacts a JOIN runs r ON r.id = a.run WHERE r.name LIKE 'kept%' ORDER BY a.run"
}
add kept1
add kept2
facts >wanted
i=0 kills=${LX_TEST_KILLS:-200}
while [ $i -lt $kills ]; do
    i=$((i + 1))
    if [ $((i % 4)) -eq 1 ]; then
        for name in x y; do
            add $name$i
            "$LX" tag-run $name$i --trash >/dev/null || exit
        done
        age
    fi
    timeout -s KILL "0.0$((i * 7 % 10))$((i / 10 % 10))" "$LX" gc --prune >/dev/null 2>&1
    "$LX" fsck >seen 2>&1 || { echo "kill $i"; cat seen; exit 1; }
    facts | cmp - wanted || exit 1
done
"$LX" gc --prune >/dev/null && "$LX" fsck | sed -e 's/^.* is sound/sound/' -e 's/, [0-9]* objects.*//'
facts | cmp - wanted
"$LX" sql "SELECT name FROM runs ORDER BY name" | tail -n +2
