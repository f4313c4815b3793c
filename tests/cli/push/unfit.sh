# What no other store would take is refused where it is recorded; one run of an older store that is so does not keep the
# others from leaving.
command -v git >/dev/null && python3 -c 'import sqlite3' 2>/dev/null || { echo "skip: no git or no python3" >&2; exit 77; }
git init -q --bare runs.git
long=$(printf '%05000d' 0)
echo data >file
"$LX" log --new r loss=1 >/dev/null
try() {
    "$LX" "$@"
    echo "exit $?"
}
try log --new x --kind "Eval Run"
try log r --file file --role "My file"
try log --new "$long"
try tag-run r "+$long" 2>&1 | tail -n 2
"$LX" runs --columns name,kind
echo "== as an older lx recorded it"
"$LX" log --new odd --kind eval loss=1 >/dev/null
python3 - <<'PY'
import os, sqlite3
with sqlite3.connect(os.environ["LX_STORE"] + "/store.db") as db:
    db.execute("UPDATE run SET kind='Eval Run' WHERE name='odd'")
PY
id=$("$LX" runs --csv --columns id,name | sed -n 's/,odd$//p')
try push runs.git 2>&1 | sed "s/$id[0-9a-f]*/ID/"
try push runs.git odd 2>&1 | sed "s/$id[0-9a-f]*/ID/"
try push runs.git odd r 2>&1 | sed "s/$id[0-9a-f]*/ID/"
"$LX" --store other pull runs.git
