# Tags on and off, names, groups, pins, trash; a tag that is not there is told.
"$LX" log --new one loss=1 >id || exit
id=$(cat id)
"$LX" tag-run "$id" +good +for=forum +draft || exit
"$LX" tag-run "$id"
"$LX" tag-run "$(cut -c1-6 id)" -draft +good=very --name two --group g --pin || exit
"$LX" tag-run two
"$LX" runs 'pinned and group = g' --columns name,tags,pinned
"$LX" tag-run two -nothing
echo "exit $?"
"$LX" tag-run two plain
echo "exit $?"
"$LX" tag-run two --trash && "$LX" runs --columns name && "$LX" runs --trash --columns name
"$LX" tag-run two --untrash --unpin --group '' && "$LX" runs --columns name,group,pinned
"$LX" tag-run two --pin --unpin
echo "exit $?"
