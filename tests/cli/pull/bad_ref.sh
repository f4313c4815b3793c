# One version that is no run of lx keeps nobody from the others: it is told by its ref, and the exit status says it.
command -v git >/dev/null || { echo "skip: no git" >&2; exit 77; }
export GIT_AUTHOR_NAME=x GIT_AUTHOR_EMAIL=x@y GIT_COMMITTER_NAME=x GIT_COMMITTER_EMAIL=x@y
export GIT_AUTHOR_DATE='1700000000 +0000' GIT_COMMITTER_DATE='1700000000 +0000'
git init -q --bare r.git
"$LX" log --new one loss=1 --end finished >one && "$LX" log --new two loss=2 --end finished >/dev/null || exit 1
"$LX" push -q r.git >/dev/null || exit 1
bad=$(git -C r.git commit-tree -m x "$(git -C r.git mktree </dev/null)") # the first of the list
git -C r.git update-ref "refs/lx/runs/0000000000000000/$bad" "$bad"
try() {
    "$LX" "$@" 2>&1
    echo "exit $?"
}
for store in new new; do
    try --store $store pull r.git
done
"$LX" --store new runs --columns name --csv | sort
echo "== by a query, looking only, by id"
try --store found pull r.git --where 'name = two'
try --store found pull r.git --where 'name = one' --dry-run
"$LX" --store found runs --columns name --csv | sort
try --store named pull r.git "$(cat one)"
try --store named pull r.git 0000
echo "== thirty of them"
i=1
while [ $i -le 30 ]; do
    c=$(git -C r.git commit-tree -m $i "$(git -C r.git mktree </dev/null)")
    git -C r.git update-ref "refs/lx/runs/00000000000000$(printf %02d $i)/$c" "$c"
    i=$((i + 1))
done
"$LX" --store many pull r.git 2>&1 | tail -n 3
echo "== one of a run that is pushed"
git -C r.git update-ref "refs/lx/runs/$(cat one)/$bad" "$bad"
"$LX" note "$(cat one)" more
try push r.git | sed "s/$(cat one)/ID/g"
git -C r.git for-each-ref "refs/lx/runs/$(cat one)" | wc -l
