# A repository that a stranger filled: parts that are other things than they should be are refused by name; thousands of
# refs are passed over; names in a record lead nowhere when the run is written out again.
command -v git >/dev/null || { echo "skip: no git" >&2; exit 77; }
export GIT_AUTHOR_NAME=x GIT_AUTHOR_EMAIL=x@y GIT_COMMITTER_NAME=x GIT_COMMITTER_EMAIL=x@y
git init -q --bare runs.git
cd runs.git
id=0123456789abcdef
record() { # ARTIFACTS [REMARKS]
    printf '{"id":"%s","kind":"train","started":1,"texts":{},"remarks":[%s],"artifacts":[%s],"curves":[]}' $id "${2-}" "$1"
}
blob() { git hash-object -w --stdin; }
good=$(record "" | blob)
empty=$(printf '' | git mktree)
pull() { # COMMIT: pulled by a new store, and taken away
    git update-ref "refs/lx/runs/$id/$1" "$1"
    rm -rf ../other
    "$LX" --store ../other pull "$PWD" >../told 2>&1
    echo "exit $?: $(sed "s|$PWD|DIR|g; s/version [0-9a-f]\{10\}/version C/; s,$id/$1,ID/C," ../told)"
    git update-ref -d "refs/lx/runs/$id/$1"
}
version() { pull "$(git commit-tree -m x "$(printf "$@" | git mktree --missing)")"; }
echo "== as it should be"
version '100644 blob %s\trecord.json\n' "$good"
echo "== the record is a link, a folder, a submodule, not there, executable"
version '120000 blob %s\trecord.json\n' "$(printf /etc/passwd | blob)"
version '040000 tree %s\trecord.json\n' "$empty"
version '160000 commit %s\trecord.json\n' 1111111111111111111111111111111111111111
version '100644 blob %s\tRECORD.JSON\n' "$good"
version '100755 blob %s\trecord.json\n' "$good"
echo "== the ref is no commit"
pull "$good"
pull "$(printf '100644 blob %s\trecord.json\n' "$good" | git mktree)"
echo "== the objects: no folder, a folder of another name, one whose name is not its hash, a folder, a link"
text=$(printf secret | blob)
hash=$(printf secret | sha256sum | cut -d' ' -f1)
needs=$(record "{\"role\":\"lora\",\"name\":\"a\",\"sha256\":\"$hash\",\"size\":6,\"step\":1,\"at\":1,\"is_kept\":true}" | blob)
version '100644 blob %s\trecord.json\n100644 blob %s\tobjects\n' "$needs" "$text"
version '100644 blob %s\trecord.json\n040000 tree %s\tOBJECTS\n' "$needs" "$(printf '100644 blob %s\t%s\n' "$text" "$hash" | git mktree)"
version '100644 blob %s\trecord.json\n040000 tree %s\tobjects\n' "$needs" "$(printf '100644 blob %s\t%s\n' "$good" "$hash" | git mktree)"
version '100644 blob %s\trecord.json\n040000 tree %s\tobjects\n' "$needs" "$(printf '040000 tree %s\t%s\n' "$empty" "$hash" | git mktree)"
version '100644 blob %s\trecord.json\n040000 tree %s\tobjects\n' "$needs" "$(printf '120000 blob %s\t%s\n' "$(printf /etc/passwd | blob)" "$hash" | git mktree)"
version '100644 blob %s\trecord.json\n040000 tree %s\tobjects\n' "$needs" "$(printf '100644 blob %s\t%s\n' "$text" "$hash" | git mktree)"
echo "== what it names lies elsewhere"
there=$(printf '100644 blob %s\t%s\n' "$text" "$hash" | git mktree)
evil() { printf '{"role":"%s","name":"%s","path":"/etc/passwd","sha256":"%s","size":6,"step":%s,"at":%s,"is_kept":true}' "$@"; }
names=$(evil lora ../../../evil1 $hash 1 1),$(evil log /evil2 $hash 2 2),$(evil file '..' $hash 3 3),$(evil config '\u001b[2J\n.git/hooks/x' $hash 4 4),$(evil sample '~/evil5' $hash 5 5)
run=$(record "$names" "[1,\"tag\",\"../../evil6\",null],[1,\"fact\",\"cwd\",\"/etc\"],[1,\"name\",\"\",\"../../evil7\"]" | blob)
version '100644 blob %s\trecord.json\n040000 tree %s\tobjects\n' "$run" "$there"
mkdir -p ../deep/in/here
cd ../deep/in/here
for form in bundle csv json tensorboard mlflow; do
    "$LX" --store ../../../other export --all --format $form -o made.$form >/dev/null 2>&1
    echo "$form: exit $?"
done
"$LX" --store ../../../other show $id | LC_ALL=C grep -c "$(printf '[\001-\010\013-\037]')"
"$LX" --store ../../../other reproduce $id -o again >/dev/null 2>&1
cd ../../..
find . -name '*evil*' | grep -v '^./deep/in/here/made'
find . -type l
ls deep deep/in
echo "== five thousand refs that are none of ours, and two thousand that are no runs"
cd runs.git
mine=$(git commit-tree -m x "$(printf '100644 blob %s\trecord.json\n' "$good" | git mktree)")
other=$(git commit-tree -m y "$empty")
{
    echo "# pack-refs with: peeled fully-peeled sorted "
    seq 5000 | awk -v c="$mine" '{ printf "%s refs/heads/b%04d\n", c, $1 }'
    echo "$mine refs/lx/runs/$id/$mine"
    seq 2000 | awk -v c="$mine" '{ printf "%s refs/lx/runs/1%015x/%040x\n", c, $1, $1 }' # the name says another commit
    seq 500 | awk -v c="$mine" '{ printf "%s refs/lx/runs/2%015x/%sff\n", c, $1, c }'
    echo "$mine refs/lx/runs/3123456789ABCDEF/$mine"
    echo "$mine refs/lx/runs/4123456789abcdef0/$mine"
    echo "$mine refs/lx/runs/z123456789abcdef/$mine"
} >packed-refs
cd ..
rm -rf other
timeout 60 "$LX" --store other pull runs.git
"$LX" --store other log --new mine --end finished loss=1 >/dev/null
timeout 60 "$LX" --store other push runs.git --quiet
"$LX" --store other fsck >/dev/null && ls other/tmp
