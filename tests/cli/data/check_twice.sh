# A folder in two datasets is no set of duplicates; remedies for tags that differ in case do what they say.
pictures="$SOURCE/tests/golden/data/images/in"
[ -e "$pictures/rgb.png" ] || { echo "skip: no $pictures" >&2; exit 77; }
put() {
    cp "$pictures/$2" "img/$1.png"
    echo "$3" >"img/$1.txt"
}
told() {
    "$LX" data check "$@" --near -1 2>/dev/null |
        grep -A 2 -E '(duplicate|together|variants|double-tag|identifier):'
}
mkdir img
put a rgb.png 'iwl, long_hair, smile'
put b grey.png 'iwl, long_hair'
put c wide.png 'iwl, Long Hair, Blue, blue'
{
    printf '[general]\ncaption_extension = ".txt"\n'
    for resolution in 64 96; do
        printf '[[datasets]]\nresolution = %d\n[[datasets.subsets]]\n' $resolution
        printf 'image_dir = "img"\nclass_tokens = "nobody"\n'
    done
} >twice.toml
echo '== two datasets'
told --dataset_config twice.toml
echo '== a copy is told once'
cp img/a.png img/d.png && echo iwl >img/d.txt
told --dataset_config twice.toml | grep -A 2 duplicate
rm img/d.*
echo '== the remedies'
"$LX" data tags img replace "long hair" "long_hair" --ignore-case --write -q >/dev/null
"$LX" data tags img dedupe --ignore-case --write -q >/dev/null
cat img/c.txt
told --dataset_config twice.toml | grep -E 'variants|double-tag' || echo "none is left"
