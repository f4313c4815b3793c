# List, count, every edit as a diff, written, and taken back.
set="img/4_iwl 1girl"
pictures="$SOURCE/tests/golden/data/images/in"
[ -e "$pictures/rgb.png" ] || { echo "skip: no $pictures" >&2; exit 77; }
mkdir -p "$set" "img/2_ysn"
for i in 1 2 3 4; do cp "$pictures/tiny.png" "$set/$i.png"; done
cp "$pictures/tiny.png" img/2_ysn/y.png
printf '1girl, iwl, red hair,red hair' >"$set/1.txt"
printf '\357\273\277long_hair, 1girl\r\nsecond, line\r\n' >"$set/2.txt"
printf 'iwl, Red Hair, long hair\n' >"$set/3.txt"
printf 'ysn, 1girl\n' >img/2_ysn/y.txt
cat "$set"/*.txt img/2_ysn/y.txt | sha256sum >before
tags() { "$LX" data tags img "$@" 2>&1 | sed 's/[0-9a-f]\{16\}/RUN/'; }
tags
tags list --json | head -8
tags count iwl nobody 'red hair'
tags count
tags count 'RED HAIR' -i
for edit in 'prepend iwl' 'append iwl,x' 'remove 1girl' 'dedupe -i' 'sort --keep_tokens 1'; do
    echo "== $edit"
    tags $edit
done
echo '== replace'
tags replace long_hair 'long hair'
cat "$set"/*.txt img/2_ysn/y.txt | sha256sum | cmp - before && echo "nothing was written"
tags replace long_hair 'long hair' --write | tail -1
tags prepend iwl --write -q
cat "$set/2.txt" | od -An -c
tags sort --write | tail -1
"$LX" runs --columns kind,name
"$LX" data tags --undo 2>/dev/null
"$LX" data tags --undo --write -q && "$LX" data undo --write -q && "$LX" data undo --write -q
cat "$set"/*.txt img/2_ysn/y.txt | sha256sum | cmp - before && echo "as they were"
# The folder itself is a folder of images as well.
"$LX" data tags "$set" count
