# An option that belongs to another that is not there is refused; nothing is lost in silence.
id=$("$LX" log --new one loss=1) || exit
try() { "$LX" "$@"; echo "exit $?" >&2; }
try log "$id" --role lora
try log "$id" --message why
try log --new two --message why
try log -
try runs --columns name,status
printf 'loss=1\n' | "$LX" log --new three - --message 'all read' >/dev/null
try runs --columns name,status,message --sort name
try show "$id" --diff 2>&1 >/dev/null | sed "s/of [0-9a-f]*:/of ID:/"
try fsck --repair-from nowhere >/dev/null
