# A database of 0 bytes is a damaged one when there are objects; what was sent elsewhere comes back. One that was only
# begun holds no runs.
run=$("$LX" --store s log --new one loss=1) && "$LX" --store s log "$run" loss=2 --end finished || exit
"$LX" --store s export one -o one.lxb --quiet || exit
rm -f s/store.db-wal s/store.db-shm
: >s/store.db
"$LX" --store s fsck 2>&1; echo "exit $?"
"$LX" --store s fsck --repair-from one.lxb 2>&1 |
    sed 's/store-[0-9T]*/store-DATE/; s/run [0-9a-f]\{16\}/run ID/; /^table/d; s/[0-9]* bytes re/N bytes re/'
"$LX" --store s runs --columns name,status,steps
"$LX" --store s fsck | grep -c sound
head -c 5000 /dev/zero | tr '\0' x >s/store.db
rm -f s/store.db-wal s/store.db-shm
"$LX" --store s fsck 2>&1; echo "exit $?"
mkdir begun && : >begun/store.db
"$LX" --store begun fsck 2>&1; echo "exit $?"
mkdir -p folder/store.db
"$LX" --store folder fsck 2>&1; echo "exit $?"
