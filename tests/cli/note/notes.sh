# Notes add up; from words and from standard input; none of nothing.
"$LX" log --new one loss=1 >id || exit
"$LX" note one the eyes are right || exit
printf 'second note\n' | "$LX" note one - || exit
"$LX" note one | sed 's/^[0-9-]* [0-9:]*/DATE/'
"$LX" runs 'note ~ EYES' --columns name,notes
"$LX" note one ''
echo "exit $?"
"$LX" note nobody text
echo "exit $?"
