# kill -9 at many moments of an import: the store stays sound, and the next import goes on to the same end.
# LX_TEST_KILLS sets how many (200).
. "$SOURCE/tests/support/lora.sh"
mkdir loras
for session in 11 12 13 14 15 16 17 18 19; do
    make_lora "loras/a$session-1.safetensors" "$(session_metadata $session 1 2)"
    make_lora "loras/a$session.safetensors" "$(session_metadata $session 2 2)"
done
for name in lain nikke_v1_interrupted; do
    [ ! -e "$LX_GOLDENS/lora/logs/$name.log" ] || cp "$LX_GOLDENS/lora/logs/$name.log" loras
done
"$LX" --store clean import loras >/dev/null || exit 1
i=0
while [ $i -lt "${LX_TEST_KILLS:-200}" ]; do
    i=$((i + 1))
    [ $((i % 6)) -ne 0 ] || rm -rf store
    "$LX" --store store import loras >/dev/null 2>&1 &
    sleep "0.0$(printf %02d $((i * 7 % 40)))"
    kill -KILL $! 2>/dev/null
    wait $! 2>/dev/null
    [ ! -e store/store.db ] || "$LX" --store store fsck >found 2>&1 ||
        grep -q "no runs yet" found || { echo "kill $i"; cat found; exit 1; }
done
"$LX" --store store import loras >/dev/null || exit 1
"$LX" --store store fsck >/dev/null || exit 1
query="SELECT r.origin, r.status, r.last_step, (SELECT count(*) FROM artifacts a WHERE a.run = r.id) AS files
    FROM runs r ORDER BY r.origin"
"$LX" --store clean sql "$query" >wanted
"$LX" --store store sql "$query" >got
diff wanted got
