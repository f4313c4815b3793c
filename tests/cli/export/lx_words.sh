# Whose name is one of lx's own words loses no remark and no file: kinds and roles are not anybody's.
for USER in note tag sample config; do
    export USER
    role=config
    [ $USER = sample ] && role=sample
    run=$("$LX" --store $USER.store log --new a)
    echo text >a.txt
    "$LX" --store $USER.store log "$run" --file a.txt --role $role --end finished -q
    "$LX" --store $USER.store note a 'remember me' >/dev/null
    "$LX" --store $USER.store tag-run a +good >/dev/null
    "$LX" --store $USER.store export a -o $USER.lxb -q || exit
    "$LX" --store there.$USER import $USER.lxb -q >/dev/null || exit
    "$LX" --store there.$USER note a | sed 's/^[-0-9: ]*//'
    "$LX" --store there.$USER sql --csv \
        "select kind from remark where kind in ('note', 'tag') union all select role from artifact" | tail -n +2 | xargs
done
