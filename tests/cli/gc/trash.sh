# A run goes to the trash, out of lists and back; what is young stays.
run=$("$LX" log --new a --kind train --flag dim=4)
"$LX" log "$run" --end finished
"$LX" tag-run a --trash | sed "s/$run/RUN/"
"$LX" runs
"$LX" gc
"$LX" tag-run a --untrash | sed "s/$run/RUN/"
"$LX" runs | grep -c " a"
"$LX" gc --prune
"$LX" fsck | sed "s/, [0-9]* bytes.*//"
# A store that is not there is told and not made, by this and by all that change one.
for words in gc 'gc --prune' 'note a hi' 'tag-run a +x' 'log a loss=1' 'fsck --rebuild' 'reproduce a' 'sweep --resume a'; do
    "$LX" $words --store typo
    [ $? -eq 66 ] && [ ! -e typo ] || echo "$words: not 66, or made" >&2
done
"$LX" gc --keep-days -1
# No days are none, not the 14.
"$LX" tag-run a --trash >/dev/null
"$LX" gc --keep-days 0 --prune | sed "s/run [0-9a-f]* a/run ID a/"
"$LX" runs
