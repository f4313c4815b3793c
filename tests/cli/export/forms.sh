# The same runs for TensorBoard, MLflow, tables and JSON, and what lx import makes of the first two.
make=$(dirname "$LX")/tests/make_run
data=$LX_GOLDENS/e2e/data/train
[ -x "$make" ] && [ -d "$data" ] || { echo "skip: no $make or no $data" >&2; exit 77; }
"$make" "$LX_STORE" "$data" hifumi || exit 1
"$LX" export hifumi --format tensorboard -o tb --quiet || exit 1
"$LX" export hifumi --format mlflow -o mlruns --quiet || exit 1
"$LX" export hifumi --format csv -o points.csv --quiet || exit 1
"$LX" export hifumi -o run.json --quiet || exit 1
if grep -rqaE 'wren|nest-7' tb mlruns points.csv run.json; then
    echo "a private name left"
    exit 1
fi
find tb -type f
wc -l <points.csv
sed -n '1p; s/^[0-9a-f]*,hifumi,loss,200,/loss at 200: /p' points.csv
"$LX" --store other import tb mlruns --json >imported || exit 1
grep -o '"steps": *200' imported | wc -l
grep -o '"is_kept":true' run.json | wc -l
