# Words reach the command as they are, and the record as a shell would read them back; secrets do not.
cat >show.sh <<'END'
for word in "$@"; do printf '[%s]' "$word"; done; echo; cat; echo err >&2
END
echo input | "$LX" run -q -- sh show.sh 'a b' "it's" '$(touch made)' '*' '' 'two
lines' --hf_token hf_abcdefghijklmnopqrstuvwxyz0123456789 2>err
cat err
ls made 2>/dev/null
"$LX" sql --json "SELECT count(*) AS n FROM runs"
"$LX" show sh | grep command
"$LX" runs --json | grep '"status"'
! grep -rqa abcdefghijklmnopqrstuvwxyz0123 "$LX_STORE" || echo "the token is in the store"
