# A run that is named twice, by its name and by its id, goes once, and what is there of it is dropped once.
command -v git >/dev/null || { echo "skip: no git" >&2; exit 77; }
git init -q --bare runs.git
id=$("$LX" log --new r --flag a=1)
"$LX" log r loss=1
"$LX" push runs.git r "$id" r
"$LX" log r loss=2
"$LX" push runs.git "$id" r r
"$LX" push runs.git "$id" r
git -C runs.git for-each-ref refs/lx | grep -c .
# What is asked for by an id must be there.
"$LX" --store other pull runs.git nosuch; echo "exit $?"
"$LX" --store other pull runs.git "$id" nosuch -n; echo "exit $?"
"$LX" --store other pull runs.git "$id"
