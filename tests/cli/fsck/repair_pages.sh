# Pages of the database are overwritten, one at a time, and all of it at last: what a git repository has comes back.
# LX_TEST_FAULTS=all takes every page, else a dozen of them.
command -v sqlite3 >/dev/null && command -v git >/dev/null || { echo "skip: no sqlite3 or git" >&2; exit 77; }
export LX_STORE=$PWD/store
git init -q --bare runs.git
for name in a b c; do
    run=$("$LX" log --new $name --kind train --flag network_dim=4)
    awk 'BEGIN { for (i = 1; i <= 9000; i++) print "step=" i, "loss=" 1 / i, "x=" i % 97 }' | "$LX" log "$run" - &&
        "$LX" log "$run" --end finished && "$LX" note "$run" "a note of $name" || exit
done
"$LX" push runs.git --no-scrub >/dev/null 2>&1 || exit
sqlite3 store/store.db "PRAGMA wal_checkpoint(TRUNCATE)" >/dev/null
cp -r store sound
facts() { # STORE
    "$LX" --store "$1" sql "SELECT id, name, status, n_points, last_step, loss FROM runs ORDER BY id"
    "$LX" --store "$1" sql "SELECT run, key, n, min_value, max_value FROM curves ORDER BY run, key"
    "$LX" --store "$1" sql "SELECT run, note FROM notes ORDER BY run, note"
}
facts sound >wanted
size=$(($(stat -c %s store/store.db) / 4096))
page=1 bad=0 stride=$((size / 12 + 1))
[ "${LX_TEST_FAULTS-}" = all ] && stride=1
while [ $page -le $size ]; do
    rm -r store && cp -r sound store
    head -c 4096 /dev/zero | tr '\0' '\377' | dd of=store/store.db bs=4096 seek=$((page - 1)) conv=notrunc 2>/dev/null
    "$LX" fsck --repair-from runs.git >told 2>&1 || { echo "page $page of $size: exit $?"; cat told; bad=$((bad + 1)); }
    facts store >got 2>&1
    cmp -s wanted got || { echo "page $page of $size:"; diff wanted got; cat told; bad=$((bad + 1)); }
    [ $bad -lt 3 ] || exit
    page=$((page + stride))
done
echo "one page at a time: $bad bad"
grep -c 'store-.*db' told

echo "== killed in the middle, then done"
for after in 0.02 0.05 0.08 0.12 0.2 0.3 0.5; do
    rm -r store && cp -r sound store
    head -c 4096 /dev/zero | tr '\0' '\377' | dd of=store/store.db bs=4096 seek=$((size / 2)) conv=notrunc 2>/dev/null
    "$LX" fsck --repair-from runs.git >told 2>&1 &
    sleep $after
    kill -9 $! 2>/dev/null
    wait $! 2>/dev/null
    "$LX" fsck --repair-from runs.git >told 2>&1 || { echo "killed after $after s: exit $?"; cat told; }
    facts store >got 2>&1
    cmp -s wanted got || { echo "killed after $after s:"; diff wanted got; cat told; }
done

echo "== the source is not there at first"
rm -r store && cp -r sound store
head -c 4096 /dev/zero | tr '\0' '\377' | dd of=store/store.db bs=4096 seek=$(($(sqlite3 sound/store.db \
    "SELECT rootpage FROM sqlite_schema WHERE name='run'") - 1)) conv=notrunc 2>/dev/null
"$LX" fsck --repair-from no.git >/dev/null 2>&1
echo "exit $?"
"$LX" fsck 2>&1 | sed "s,$PWD/,,"
"$LX" fsck --repair-from runs.git 2>&1 | sed -e "s,$PWD/,," -e 's/, [0-9]* bytes re-hashed//' -e 's/[0-9a-f]\{16\}/ID/'
facts store | cmp - wanted

echo "== all of it"
rm -r store && cp -r sound store
head -c 4096 /dev/zero >store/store.db
"$LX" fsck --repair-from runs.git | tail -n 2 | sed -e "s,$PWD/,," -e 's/, [0-9]* bytes re-hashed//'
facts store | cmp - wanted && "$LX" fsck >/dev/null && echo equal

echo "== someone has it open"
head -c 4096 /dev/zero | dd of=store/store.db bs=4096 seek=3 conv=notrunc 2>/dev/null
mkfifo pipe
sqlite3 store/store.db <pipe >/dev/null 2>&1 &
exec 3>pipe
echo "SELECT count(*) FROM sqlite_schema;" >&3
sleep 0.5
"$LX" fsck --repair-from runs.git 2>&1 | grep -c 'is open in another program'
exec 3>&-
wait
