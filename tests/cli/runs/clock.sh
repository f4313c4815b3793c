# A clock that goes backwards, forwards, to 1970, between commands and inside one: order is that of the record, nothing
# took negative time, nothing is removed for its seeming age, the store is sound.
[ -e "${LX_FAKE_CLOCK_LIBRARY:-}" ] || { echo "skip: no fake clock" >&2; exit 77; }
. "$SOURCE/tests/support/tiny.sh"
at() { # OFFSET COMMAND...: with the clock off by so many seconds
    offset=$1
    shift
    LD_PRELOAD=$LX_FAKE_CLOCK_LIBRARY LX_FAKE_CLOCK=$offset "$LX" "$@"
}
year=31536000
at 0 log --new first --flag a=1 --step 1 loss=0.5 >/dev/null || exit 1
at -$((10 * year)) log first --step 2 loss=0.25 --end finished || exit 1
at -$((20 * year)) log --new second --step 1 loss=0.5 --end finished >/dev/null || exit 1
at 0 tag-run first +good=old >/dev/null
at -$((30 * year)) tag-run first +good=new >/dev/null
at 0 note first "first note"
at -$((5 * year)) note first "second note"
echo "newest first: $("$LX" runs --csv --columns name | tail -n +2 | tr '\n' ' ')"
echo "the last word: $("$LX" sql --csv "SELECT value FROM tags WHERE tag = 'good'" | tail -n 1)"
"$LX" note first | sed 's/.*\(first note\|second note\)/\1/'
for when in -$((10 * year)) -$((50 * year)) $((10 * year)); do
    at "$when" runs --all >listed && at "$when" show first >>listed && at "$when" show first --json >>listed &&
        at "$when" watch first --once >>listed && at "$when" compare first second >>listed &&
        at "$when" report first --format md >>listed || echo "failed with the clock $when s off"
    grep -nE -- '(^|[ "(])-[0-9.]+ ?(s|min|h|d)\b|"seconds": *-' listed
done
at -$((50 * year)) gc --prune >/dev/null && "$LX" fsck | sed 's/.* is sound/sound/; s/, [0-9]* objects.*//'
# Every reading another: a training, its end, and a command that is recorded.
at storm train $flags --max_train_steps 6 --network_dim 2 --save_every_n_steps 2 --output_dir out --output_name t \
    --name stormy >log 2>&1 || cat log
grep -nE -- '(^| )-[0-9.]+ ?s' log
at storm run -q --name told -- sh -c 'for i in 1 2 3; do printf "steps:  %d/3 [00:01<00:00, 1it/s, avr_loss=0.5]\n" $i; sleep 0.2; done' >/dev/null
at storm runs --all --columns name,status,steps --sort name
at storm show stormy >listed; at storm report stormy -o r.html -q || echo "no report"
grep -nE -- '(^|[ "(])-[0-9.]+ ?(s|min|h|d)\b' listed
"$LX" fsck | sed 's/.* is sound/sound/; s/, [0-9]* objects.*//'
