# Ends well and names the commands; the list itself grows with lx.
"$LX" help >all || exit
grep -q '^usage: lx COMMAND' all && grep -q '^  help ' all && ! grep -q '^  debug' all &&
    "$LX" --help | cmp - all
