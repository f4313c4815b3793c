# What it is asked for wrongly, and a GPU that is not there.
"$LX" selftest atention
echo "exit $?"
"$LX" selftest --device tpu
echo "exit $?"
"$LX" selftest --threads -1
echo "exit $?"
TMPDIR=/nowhere "$LX" selftest --quick training >/dev/null 2>why
echo "exit $?"
sed 's/selftest-[0-9]*/selftest-N/' why
"$LX" selftest --device cuda:7 2>why
echo "exit $?"
grep -c '^lx selftest: --device cuda:7: [^.]*$' why
