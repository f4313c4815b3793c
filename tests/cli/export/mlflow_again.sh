# A run that is exported to MLflow's folder again is there as it is now: what lx wrote once and the run lost is gone,
# what MLflow's users added or changed stays.
id=$("$LX" log --new x --flag dim=4 loss=0.5) && "$LX" tag-run "$id" +good +deep/er/tag=1 +was +for=forum || exit
echo one >note.txt && "$LX" log "$id" --file note.txt --role log || exit
"$LX" export "$id" --format mlflow -o mlruns -q && cd mlruns/*/*/ || exit
here=$PWD
ls | grep -v '^lx\.sha256$'
echo mine >tags/mine
mkdir tags/by && echo hand >tags/by/hand
echo edited >tags/for
echo more >artifacts/more.txt
"$LX" tag-run "$id" -good -deep/er/tag -was -for +deep=2 +was/not=3 +by=4 || exit
"$LX" export "$id" --format mlflow -o ../.. -q || exit
find . -type f | LC_ALL=C sort
cat tags/deep tags/was/not tags/by/* tags/for
echo
sha256sum --quiet -c lx.sha256 || exit

echo "Nothing outside the run's folder is removed, and nothing behind a link:"
mkdir ../../outside && cd ../../outside && printf x >file && printf x >../meta && cd "$here" || exit
sum=$(printf x | sha256sum | cut -d ' ' -f 1)
ln -s ../../../outside tags/link
ln -s ../../../outside/file tags/linked
for path in ../../outside/file tags/../../../outside/file tags/link/file tags/linked /etc/hostname meta.yaml tags/ \
    tags//mine; do
    echo "$sum  $path"
done >>lx.sha256
printf '%064d  tags/link/file\n%064d  ../meta.yaml\nrubbish' 0 0 >>lx.sha256
"$LX" export "$id" --format mlflow -o ../.. -q || exit
cat ../../outside/file tags/link/file tags/linked ../../meta tags/mine
[ -e ../meta.yaml ] && [ -e meta.yaml ] || echo "a meta.yaml is gone"
rm -r tags/link tags/linked ../../outside ../../meta

echo "What an export that was killed left is cleared away:"
printf '%064d  tags/half\n' 0 >>lx.sha256
echo h >tags/half
echo t >tags/.lx-1-2.tmp
"$LX" export "$id" --format mlflow -o ../.. -q || exit
find tags -name '.*' -o -name half

echo "A run whose group changed moves:"
"$LX" tag-run "$id" --group other && cd ../.. && "$LX" export "$id" --format mlflow -o . -q || exit
find . -name lx.id | wc -l
grep -h "^name:" */meta.yaml | sort
cat */*/tags/mine
