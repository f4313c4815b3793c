# An untracked source of a run's repository that is gone from the store is missed, and brought back from a bundle.
command -v git >/dev/null && command -v sqlite3 >/dev/null || { echo "skip: no git or sqlite3" >&2; exit 77; }
export LX_STORE="$PWD/store"
mkdir work && cd work && git init -q . && echo a >a.py && git add a.py || exit
git -c user.name=n -c user.email=e@x commit -qm one || exit
echo 'print("new")' >new.py
"$LX" run -q --name r -- true || exit
cd ..
"$LX" export r -o r.lxb >/dev/null || exit
sqlite3 store/store.db "DELETE FROM object WHERE hash=x'$(sha256sum work/new.py | cut -c 1-64)'"
ids() { sed -E 's/[0-9a-f]{64}/HASH/; s/run [0-9a-f]{16}/run ID/; s/ [0-9]+ (objects|bytes).*//'; }
"$LX" fsck 2>&1 | ids
"$LX" fsck --repair-from r.lxb 2>&1 | ids
"$LX" fsck >/dev/null && echo sound
