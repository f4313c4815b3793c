# One path that cannot be read, or is not there, keeps nobody from the others; a bundle that was cut is told as that.
run=$("$LX" --store first log --new kept loss=1) && "$LX" --store first log "$run" --end finished || exit 1
"$LX" --store first export kept -o whole.lxb --quiet || exit 1
head -c 300 whole.lxb >cut.lxb
try() {
    rm -rf "$LX_STORE"
    "$LX" import "$@" 2>&1 | sed '/new .* kept$/d; /started *status/d'
    "$LX" import -n "$@" >out 2>&1; echo "exit $?"
    "$LX" runs --kind log --json --columns name | tr -d ' \n'; echo
}
try cut.lxb whole.lxb
try nope whole.lxb
try nope cut.lxb
try cut.lxb
"$LX" import --json whole.lxb nope >out; echo "exit $?"
grep -A1 problems out
# A large one of which little is left is cut, too, and no bomb.
run=$("$LX" --store first log --new long) && seq 1 400000 >long.txt || exit 1
"$LX" --store first log "$run" --file long.txt && "$LX" --store first export long -o long.lxb --quiet || exit 1
head -c 700 long.lxb >cut.lxb
try cut.lxb whole.lxb
