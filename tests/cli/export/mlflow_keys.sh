# In MLflow's folder a key is a path: what would be a file and a folder, lead elsewhere or be too long gets another
# name.
long=$(printf '%0250d' 0)
id=$("$LX" log --new x --flag a=1 --flag a/b=2 --flag a/b/c=3 --flag ..=4 --flag ../up=5 --flag .=6 --flag x//y=7 \
    --flag /abs=8 --flag "${long}1=9" --flag "${long}2=10" loss=1 loss/average=2 loss/current=3 ../up=4 ..a=5) || exit
"$LX" tag-run "$id" +a=10 +a/b=11 +lx.id=12 +lx.kind/x=13 +mlflow.note.content=14 || exit
"$LX" note "$id" 'a note' || exit
"$LX" export "$id" --format mlflow -o mlruns -q && cd mlruns/*/*/ || exit
"$LX" export "$id" --format mlflow -o ../.. -q || exit
[ "$(cat tags/lx.id)" = "$id" ] && [ "$(cat tags/mlflow.note.content)" = 'a note' ] || echo "a tag of lx' own is lost"
rm tags/lx.id
for kind in metrics params tags; do
    find $kind -type f | LC_ALL=C sort | while read -r file; do
        [ ${#file} -le $((250 + ${#kind} + 1)) ] || echo "too long: $file"
        echo "$file: $(sed 's/^1[0-9]\{12\} //' "$file")"
    done
done | sed 's/0\{100,\}/0.../'
