# What is damaged is named, the status is 1; what is derived is made again by --rebuild.
run=$("$LX" log --new a --kind train --flag dim=4)
"$LX" log "$run" --step 1 loss=0.5
"$LX" log "$run" --end finished
"$LX" fsck | sed "s/, [0-9]* bytes.*//"
command -v sqlite3 >/dev/null || { echo "skip: no sqlite3" >&2; exit 77; }
store=${XDG_DATA_HOME:-$HOME/.local/share}/lx
[ -n "${LX_STORE-}" ] && store=$LX_STORE
sqlite3 "$store/store.db" "UPDATE series_now SET last_value=7"
"$LX" fsck | sed "s/$run/RUN/"
"$LX" fsck --rebuild | sed "s/, [0-9]* bytes.*//"
sqlite3 "$store/store.db" "UPDATE object SET data=x'00' WHERE id=1"
"$LX" fsck | sed "s/[0-9a-f]\{64\}/HASH/g"
