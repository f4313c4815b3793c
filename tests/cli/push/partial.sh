# Runs by name, by query and by id; what was taken out is said; the name of a remote will do.
make=$(dirname "$LX")/tests/make_run
data=$LX_GOLDENS/e2e/data/train
[ -x "$make" ] && [ -d "$data" ] || { echo "skip: no $make or no $data" >&2; exit 77; }
command -v git >/dev/null || { echo "skip: no git" >&2; exit 77; }
git init -q --bare runs.git && git init -q project && git -C project remote add origin "$PWD/runs.git" || exit 1
for name in a b c; do
    "$make" "$LX_STORE" "$data" $name || exit 1
done
cd project || exit 1
"$LX" push origin a --dry-run 2>/dev/null
"$LX" push origin a 2>/dev/null
"$LX" push origin --where 'name = b' 2>/dev/null
id=$(git -C ../runs.git for-each-ref | sed -n '1s|.*runs/\(....\).*|\1|p')
"$LX" --store other pull origin --dry-run
"$LX" --store other pull origin "$id"
"$LX" --store third pull origin --where "name = b" --dry-run
"$LX" --store third pull origin --where "name = b"
"$LX" --store third runs --columns name,loss
"$LX" --store third pull origin --where "nonsense ="
"$LX" --store third pull origin "$id" --where "name = b"
ls third/tmp
"$LX" --store other pull origin
"$LX" push origin 2>/dev/null
git -C ../runs.git for-each-ref | wc -l
