# What is no history is said so, and a path that is not there is named.
echo words >notes.txt
"$LX" import notes.txt; echo "exit $?"
"$LX" import no_such_folder; echo "exit $?"
"$LX" import; echo "exit $?"
[ ! -e "$LX_STORE/store.db" ] || ! "$LX" runs --json | grep id
"$LX" import --tag "" notes.txt; echo "exit $?"
