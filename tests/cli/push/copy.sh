# A copy of a store that missed the end of a run neither takes it from the repository nor covers it with what it knows;
# nor does a store that an old backup was put back into.
command -v git >/dev/null || { echo "skip: no git" >&2; exit 77; }
say() { # what the versions of the repository say: points, an end
    git -C runs.git for-each-ref --format='%(refname)' refs/lx | while read -r ref; do
        git -C runs.git show "$ref:record.json" >record.json
        echo "$(grep -o '"n":[0-9]*' record.json) $(grep -o '"end"' record.json)"
    done | sort
}
git init -q --bare runs.git
"$LX" --store one log --new r --flag a=1 >/dev/null
"$LX" --store one log r loss=1 && "$LX" --store one log r loss=2
cp -r one copy
echo "== the original goes on, ends and is pushed"
for x in 3 4 5; do
    "$LX" --store one log r loss=$x
done
"$LX" --store one log r --end finished
"$LX" --store one push runs.git
cp -r one backup
say
echo "== the copy has a note"
"$LX" --store copy note r "in the copy" >/dev/null
"$LX" --store copy push runs.git
say
echo "== and nothing new"
"$LX" --store copy push runs.git
say | wc -l
echo "== a third store has both"
"$LX" --store third pull runs.git
"$LX" --store third runs --columns name,status,steps,loss
"$LX" --store third show r | grep -c 'in the copy'
echo "== the original has the note from there, and what it says stands for all"
"$LX" --store one push runs.git
say
"$LX" --store copy push runs.git
say
echo "== an old backup, with what it knew of the repository"
"$LX" --store one note r "after the backup" >/dev/null
"$LX" --store one push runs.git
rm -r one && cp -r backup one
"$LX" --store one note r "in the backup" >/dev/null
"$LX" --store one push runs.git
"$LX" --store one sql --csv "SELECT note FROM notes ORDER BY note"
say
echo "== an old database beside newer knowledge of the repository"
cp -r copy/store.db* backup
mkdir last && cp -r backup/* last && cp -r one/remotes last
"$LX" --store last note r "in the last" >/dev/null
"$LX" --store last push runs.git
"$LX" --store last sql --csv "SELECT note FROM notes ORDER BY note"
say
