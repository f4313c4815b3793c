# A remote that is none, and one that a stranger filled.
make=$(dirname "$LX")/tests/make_run
data=$LX_GOLDENS/e2e/data/train
[ -x "$make" ] && [ -d "$data" ] || { echo "skip: no $make or no $data" >&2; exit 77; }
command -v git >/dev/null || { echo "skip: no git" >&2; exit 77; }
"$LX" push; echo "exit $?"
"$LX" pull nowhere.git; echo "exit $?"
git init -q --bare runs.git
export GIT_AUTHOR_NAME=x GIT_AUTHOR_EMAIL=x@y GIT_COMMITTER_NAME=x GIT_COMMITTER_EMAIL=x@y
export GIT_AUTHOR_DATE="1700000000 +0000" GIT_COMMITTER_DATE="1700000000 +0000"
put() { # RECORD OBJECT-NAME OBJECT: a version of run 0123456789abcdef
    record=$(printf '%s' "$1" | git -C runs.git hash-object -w --stdin)
    object=$(printf '%s' "$3" | git -C runs.git hash-object -w --stdin)
    objects=$(printf '100644 blob %s\t%s\n' "$object" "$2" | git -C runs.git mktree)
    tree=$(printf '100644 blob %s\trecord.json\n040000 tree %s\tobjects\n' "$record" "$objects" |
        git -C runs.git mktree)
    commit=$(git -C runs.git commit-tree -m x "$tree")
    git -C runs.git update-ref "refs/lx/runs/0123456789abcdef/$commit" "$commit"
    "$LX" --store other pull runs.git; echo "exit $?"
    git -C runs.git update-ref -d "refs/lx/runs/0123456789abcdef/$commit"
}
zeros=0000000000000000000000000000000000000000000000000000000000000000
put 'no json' a b 2>&1 | sed 's/version .* of/version of/'
put '{"id":"ffffffffffffffff","kind":"train","started":1,"texts":{},"remarks":[],"artifacts":[],"curves":[]}' a b
put "{\"id\":\"0123456789abcdef\",\"kind\":\"train\",\"started\":1,\"texts\":{\"spec\":\"$zeros\"},\"remarks\":[],\"artifacts\":[],\"curves\":[]}" $zeros b
put "{\"id\":\"0123456789abcdef\",\"kind\":\"train\",\"started\":1,\"texts\":{\"spec\":\"$zeros\"},\"remarks\":[],\"artifacts\":[],\"curves\":[]}" other b
git -C runs.git update-ref "refs/lx/runs/0123456789abcdef/../../heads" HEAD 2>/dev/null
"$LX" --store other runs --json
