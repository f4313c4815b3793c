# To look is to make nothing: no store, and nothing left in the folder of temporary files.
command -v git >/dev/null || { echo "skip: no git" >&2; exit 77; }
git init -q --bare r.git
"$LX" log --new one loss=1 --end finished >/dev/null && "$LX" log --new two loss=2 --end finished >/dev/null || exit 1
"$LX" push -q r.git >/dev/null || exit 1
mkdir tmp
export TMPDIR="$PWD/tmp"
"$LX" --store new pull -n r.git
"$LX" --store new pull -n r.git --where 'name = one'
"$LX" --store new pull -n nowhere.git; echo "exit $?"
ls tmp
[ -e new ] || echo "no store"
"$LX" --store new pull r.git
"$LX" --store new pull -n r.git
