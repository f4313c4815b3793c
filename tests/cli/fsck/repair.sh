# Objects, points and pages are damaged, and come back from a git repository or a bundle; damaged bytes stay aside.
command -v sqlite3 >/dev/null && command -v git >/dev/null || { echo "skip: no sqlite3 or git" >&2; exit 77; }
store=$PWD/store
export LX_STORE=$store
git init -q --bare runs.git

# steady: two runs of 12,000 points, files of both kinds.
for name in a b; do
    run=$("$LX" log --new $name --kind train --flag network_dim=4 --flag "text=$(seq 1 400 | tr '\n' ' ')")
    awk 'BEGIN { for (i = 1; i <= 12000; i++) print "step=" i, "loss=" 1 / i, "lr=" 0.001 }' | "$LX" log "$run" - || exit
    head -c 200000 /dev/urandom >$name.bin
    "$LX" log "$run" --file $name.bin --role sample && "$LX" log "$run" --end finished || exit
    "$LX" note "$run" "a note of $name" || exit
done
"$LX" push runs.git --no-scrub >/dev/null 2>&1 && "$LX" export a b --no-scrub -o runs.lxb 2>/dev/null || exit
cp -r store sound
ids() { sed -e 's/[0-9a-f]\{64\}/HASH/g' -e 's/run [0-9a-f]\{16\}/run ID/g' -e "s,$PWD/,,g" -e 's/store-[0-9TZ]*\.db/store-DATE.db/' \
    -e 's/, [0-9]* bytes re-hashed//' -e 's/the [0-9]* rows/the N rows/'; }
same() {
    for of in "SELECT name, grp, n_points, last_step, loss FROM runs ORDER BY name" "SELECT key, n, min_value FROM curves ORDER BY run, key" \
        "SELECT note FROM notes ORDER BY note" "SELECT name, sha256 FROM artifacts ORDER BY name"; do
        [ "$("$LX" sql "$of")" = "$("$LX" --store sound sql "$of")" ] || { echo "differs: $of"; "$LX" sql "$of"; }
    done
}

echo "== nothing to do"
"$LX" fsck --repair-from runs.git | ids

echo "== objects: bytes in the database, a file, a row that is gone"
sqlite3 store/store.db "UPDATE object SET data=x'00112233' WHERE hash=(SELECT flags FROM run WHERE name='a')"
file=$(sha256sum a.bin | sed 's,^\(..\)\([0-9a-f]*\).*,store/objects/\1/\2,')
printf 'damaged' | dd of="$file" bs=1 seek=100 conv=notrunc 2>/dev/null
sqlite3 store/store.db "DELETE FROM object WHERE hash=(SELECT environment FROM run WHERE name='b')"
"$LX" fsck --repair-from runs.git | ids | LC_ALL=C sort
same
ls store/damaged | sed 's/[0-9a-f]\{64\}/HASH/'

echo "== a chunk, from a bundle"
sqlite3 store/store.db "UPDATE chunk SET data=zeroblob(100) WHERE first=4096 AND series=1; DELETE FROM chunk WHERE first=0 AND series=4"
"$LX" fsck --repair-from runs.lxb | ids
same

echo "== points that are left and do not agree with those of the source"
rm -r store && cp -r sound store
sqlite3 store/store.db "UPDATE chunk SET data=(SELECT data FROM chunk WHERE series=2 AND first=0) WHERE series=1 AND first=0;
    UPDATE chunk SET data=x'00' WHERE series=1 AND first=4096"
"$LX" fsck --repair-from runs.lxb 2>/dev/null | ids | grep -v 'out of date'
rm -r store && cp -r sound store

echo "== what the source does not hold"
run=$("$LX" log --new c --kind train --flag network_dim=8)
awk 'BEGIN { for (i = 1; i <= 5000; i++) print "step=" i, "loss=" 1 / i }' | "$LX" log "$run" - && "$LX" log "$run" --end finished
rm -r sound && cp -r store sound
sqlite3 store/store.db "UPDATE chunk SET data=x'00' WHERE first=0 AND series=(SELECT series.id FROM series JOIN run ON seq=run WHERE name='c')"
sqlite3 store/store.db "UPDATE object SET data=x'00' WHERE hash=(SELECT flags FROM run WHERE name='c')"
"$LX" fsck --repair-from runs.git 2>/dev/null | ids | sort -u
"$LX" fsck --repair-from runs.git >/dev/null 2>&1
echo "exit $?"
