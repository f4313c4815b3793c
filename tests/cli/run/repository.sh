# Of a stranger's repository, around the training or as a remote, nothing runs: no hook, filter, driver, helper, monitor
# or transport; what it calls another address is not taken for one that was given.
. "$SOURCE/tests/support/repository.sh"
git init -q --bare runs.git
git init -q --bare elsewhere.git
git init -q work
cd work
printf '*.py filter=evil diff=evil merge=evil\n*.txt ident eol=crlf\n' >.gitattributes
echo 'print(1)' >train.py
git add . && git commit -qm first
commit=$(git rev-parse HEAD)
echo 'print(2)' >>train.py
echo new >new.py
ln -s /etc/passwd linked.py
git init -q inner && (cd inner && echo x >x.py && git add . && git commit -qm inner) && plant "$PWD/inner/.git" x y
plant "$PWD/.git" "$PWD/../runs.git" "$PWD/../elsewhere.git"
plant "$PWD/../runs.git" x y

"$LX" run --name r -- true >/dev/null
"$LX" log --new l --flag a=1 loss=0.5 --end finished >/dev/null
"$LX" sql --csv "SELECT name, status FROM runs ORDER BY name"
"$LX" show r --json | tr ',{' '\n\n' | grep -c "\"commit\": *\"$commit\""
"$LX" show r --json >shown.json; "$LX" compare r l --code >/dev/null
"$LX" reproduce r --check >/dev/null 2>&1
# The link is recorded as git would: where it leads, not what stands there.
"$LX" export --all -o ../all.lxb >/dev/null
zstd -qdc ../all.lxb 2>/dev/null | grep -ac 'root:x:0' # 0, and 0 too where there is no zstd
"$LX" push "$PWD/../runs.git" --quiet | sed "s|$PWD|DIR|"
"$LX" --store ../other pull "$PWD/../runs.git" | sed "s|$PWD|DIR|"
"$LX" --store ../other import ../all.lxb | tail -1
echo "elsewhere: $(git -C ../elsewhere.git for-each-ref | wc -l), here: $(git -C ../runs.git for-each-ref | wc -l)"
for remote in ext dash; do
    timeout 60 "$LX" push $remote >/dev/null 2>told || echo "$remote: refused"
done
echo "run: $(ls "$witness")"
# To be sure that the trap is one: git itself runs it.
git status >/dev/null 2>&1
git -C ../runs.git update-ref refs/heads/x "$(git -C ../runs.git for-each-ref --format='%(objectname)' | head -1)" 2>/dev/null
[ -n "$(ls "$witness")" ] && echo "git runs some"
