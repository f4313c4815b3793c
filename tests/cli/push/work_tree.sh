# A repository of this machine with a work tree takes no push; the message says what does.
command -v git >/dev/null || { echo "skip: no git" >&2; exit 77; }
git init -q plain && "$LX" log --new one loss=1 --end finished >/dev/null || exit 1
"$LX" push plain 2>&1
echo "exit $?"
"$LX" push "file://$PWD/plain/.git" 2>&1
echo "exit $?"
git init -q --bare runs.git
"$LX" push runs.git
