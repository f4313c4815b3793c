# Code: the commit, and uncommitted and untracked files that the runs do not share; --code has the lines.
command -v git >/dev/null || { echo "skip: no git" >&2; exit 77; }
git init -q . && git config user.name a && git config user.email a@b.c || exit
printf 'int x;\n' >x.c
git add x.c && git commit -qm one || exit
"$LX" log --new clean a=1 >id
printf 'int y;\n' >>x.c
printf 'int z;\n' >z.c
"$LX" log --new dirty a=1 >>id
printf 'int \033[31mw;\n' >>x.c
"$LX" log --new more a=1 >>id
compare() {
    "$LX" compare "$@" | sed -n '/^code/,/^$/p; /^the same/p' | sed 's/[0-9a-f]\{64\}/HASH/'
}
compare clean dirty
compare dirty more --code
compare clean clean
# ... of the third run, too: the same is what all share
compare dirty dirty more | grep -c '^the same:.*code'
# The page and JSON tell it as well, the lines of it escaped.
"$LX" compare clean dirty more -o page.html >/dev/null
grep -c '<pre class="diff">' page.html
grep -A1 '<code>[xz]\.c</code>' page.html | sed 's/<[^>]*>//g' | grep -v '^--'
! grep -c "$(printf '\033')" page.html
"$LX" compare dirty more --json | grep -E '"(file|changed_in)"'
# ... and so does what is shown of a run
"$LX" show dirty | sed -n 's/[0-9a-f]\{12\} on [a-z]*/COMMIT on BRANCH/; /^  git/p'
"$LX" show more --diff | grep '^[+-]'
