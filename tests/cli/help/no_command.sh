# No command: the help goes to stderr, since there is no result; a wrong use.
"$LX" 2>err
status=$?
grep -q '^usage: lx COMMAND' err || exit 1
exit $status
