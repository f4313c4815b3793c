# A store on a read-only medium is read: without a WAL, and with one that was never checkpointed.
export TMPDIR=$PWD/tmp && mkdir tmp
unshare -rm true 2>/dev/null || { echo "skip: unshare -rm is not allowed here" >&2; exit 77; }
"$LX" --store clean log --new first --kind train >/dev/null
"$LX" --store live log --new first --kind train >/dev/null
# A writer that is killed leaves its points in the WAL.
mkfifo points
"$LX" --store live log --new second - <points >/dev/null &
pid=$!
exec 9>points
echo "step=1 loss=0.5" >&9
for i in $(seq 100); do
    "$LX" --store live sql "SELECT step FROM tail" 2>/dev/null | grep -q 1 && break
    sleep 0.1
done
kill -KILL $pid
wait $pid 2>/dev/null
exec 9>&-
for store in clean live; do
    rm -f $store/store.db-shm
    unshare -rm sh -ec '
        mount --bind "$2" "$2"
        mount -o remount,ro,bind "$2"
        "$1" --store "$2" sql "SELECT name, n_points FROM runs ORDER BY seq"
        "$1" --store "$2" fsck | sed "s/:.*//"
        "$1" --store "$2" log --new third >/dev/null 2>error && echo "written?"
        grep -o "Read-only file system" error
    ' sh "$LX" $store || exit 1
done
ls tmp # copies are removed
exit 0
