# Every command has a page in docs/man, and each says what the command's table says now:
# lx debug man NAME >docs/man/lx-NAME.1.md
"$LX" help | sed -n 's/^  \([a-z-]*\)  .*/\1/p' >names
[ "$(wc -l <names)" -gt 3 ] || exit 1
status=0
"$LX" debug man >page || exit 1
diff -u "$SOURCE/docs/man/lx.1.md" page || status=1
while read -r name; do
    "$LX" debug man "$name" </dev/null >page || exit 1
    diff -u "$SOURCE/docs/man/lx-$name.1.md" page || status=1
    # ... and so have those below it
    "$LX" help "$name" | sed -n "s/^  $name \([a-z-]*\)  .*/\1/p" >below
    while read -r sub; do
        "$LX" debug man "$name" "$sub" </dev/null >page || exit 1
        diff -u "$SOURCE/docs/man/lx-$name-$sub.1.md" page || status=1
    done <below
done <names
exit $status
