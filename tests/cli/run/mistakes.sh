# No command, one that is not there, one that cannot be run: exit statuses as a shell has them, and a record of it.
"$LX" run 2>&1; echo "= $?"
"$LX" run -- 2>&1; echo "= $?"
"$LX" run --fact nothing -- true 2>&1; echo "= $?"
"$LX" run --tag '' -- true 2>&1; echo "= $?"
"$LX" run -q -- ./nothing --x 1 2>&1; echo "= $?"
echo text >file
"$LX" run -q -- ./file 2>&1; echo "= $?"
"$LX" run -- true 2>&1 | sed 's/[0-9a-f]\{10\}/ID/'
"$LX" run -q --group g --name three -- sh -c 'exit 3'; echo "= $?"
"$LX" runs --columns name,status,message --sort started | sed 's/ *$//'
