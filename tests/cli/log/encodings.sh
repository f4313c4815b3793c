# A file that is a text by its role keeps no secret, whatever its encoding; what is no text is refused before there is a run.
command -v git >/dev/null || { echo "skip: no git" >&2; exit 77; }
secret=hf_abcdefghijklmnopqrstuvwxyzABCDEFGH
printf 'Loading\377\nHF_TOKEN=%s\n' $secret >byte.log
printf 'Loading\n\000\000\000\000HF_TOKEN=%s\n' $secret >zeros.log
printf 'Loading\nHF_TOKEN=%s\n' $secret >lines
printf '\377\376%b' "$(sed 's/./&\\0000/g; s/$/\\n\\0000/' lines | tr -d '\n')" >little.log
printf '\376\377%b' "$(sed 's/./\\0000&/g; s/$/\\0000\\n/' lines | tr -d '\n')" >big.log
tail -c +3 little.log >unmarked.log
printf '\037\213\010\000\377HF_TOKEN=%s\n' $secret >packed.log
run=$("$LX" log --new texts) || exit 1
for file in byte zeros little big; do
    "$LX" log "$run" --file $file.log --role log || exit 1
done
"$LX" log "$run" --file byte.log --role config || exit 1
"$LX" sql "select role, name, size from artifacts order by at" --csv
git init -q --bare r.git && "$LX" push -q r.git --no-scrub texts >/dev/null || exit 1
ref=$(git -C r.git for-each-ref --format='%(refname)')
for hash in $("$LX" sql "select sha256 from artifacts order by at" --csv | tail -n +2); do
    git -C r.git show "$ref:objects/$hash" >object
    od -An -c object
    grep -qa $secret object && echo "the secret is in the store"
done
for file in unmarked packed; do
    "$LX" log --new bad --file $file.log --role log
    echo "exit $?"
done
"$LX" log --new kept --file packed.log --end finished >/dev/null
echo "exit $?"
"$LX" runs --columns name --csv
