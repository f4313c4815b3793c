# Private names are taken out of consoles, logs and git's difference whatever their encoding; what is no text is told.
command -v git >/dev/null || { echo "skip: no git" >&2; exit 77; }
export USER=zorblax
git init -q --bare r.git
git init -q work && cd work && git config user.email a@example.com && git config user.name a || exit 1
printf '# \351\n' >latin.py
git add latin.py && git commit -q -m first
printf '# \351\nopen("/home/zorblax/secret")\n' >latin.py
"$LX" run -q --name priv -- sh -c 'printf "\377 /home/zorblax/secret zorblax me@corp.de\n"' >/dev/null || exit 1
cd ..
run=$("$LX" log --new files) || exit 1
printf 'a\351 zorblax\n' >latin.log
printf '\000\001\377 zorblax\n' >binary
"$LX" log "$run" --file latin.log --role log && "$LX" log "$run" --file binary --role file --end finished || exit 1
"$LX" push --dry-run r.git 2>&1 | grep -v "taken out"
"$LX" push r.git 2>&1 | grep -v "taken out"
for ref in $(git -C r.git for-each-ref --format='%(refname)'); do
    for hash in $(git -C r.git ls-tree --name-only "$ref:objects"); do
        git -C r.git show "$ref:objects/$hash" >object
        grep -qa -e zorblax -e corp.de object && od -An -c object
    done
done
"$LX" push r.git
"$LX" --store other pull r.git
"$LX" --store other show priv --diff | grep -a open
