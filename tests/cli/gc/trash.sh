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
"$LX" gc --keep-days -1
