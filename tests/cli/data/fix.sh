# What needs no choice is mended: beside the originals, or over them and back again.
. "$SOURCE/tests/support/faulty_set.sh"
sums() { (cd "$1" && find . -type f | LC_ALL=C sort | xargs -d '\n' sha256sum); }
sums img >before
"$LX" data check img --reg_data_dir reg --fix --output mended >/dev/null 2>err
echo $?
sort err
sums img | cmp - before && echo "the originals are as they were"
find mended -type f | LC_ALL=C sort
cat "mended/train/10_nikkeanis 1girl/mark.txt" "mended/train/10_nikkeanis 1girl/sjis.txt" "mended/train/10_nikkeanis 1girl/latin.txt"
"$LX" data check mended/train --caption_extension .txt | grep -c -E '^(error: encoding|warning: (bom|cmyk|rotated)|note: line-ends)'
"$LX" data check img --fix --output mended >/dev/null 2>err
echo "$? $(cat err)"
# --encoding says what cannot be told.
"$LX" data check img --fix --output gbk --encoding GBK >/dev/null 2>&1
cat "gbk/10_nikkeanis 1girl/gbk.txt"
# What has the very pixels of another, in another file, is found by looking.
mkdir -p twins/1_x && cp "mended/train/10_nikkeanis 1girl/cmyk.png" "$pictures/cmyk.jpg" twins/1_x/
"$LX" data check twins | grep -A 1 near-duplicate
"$LX" data check twins --near -1 | grep -c near-duplicate
# In place, and back.
"$LX" data check img --fix --in-place >/dev/null 2>err
echo $?
sed 's/[0-9a-f]\{16\}/RUN/' err
sums img | diff before - | sed -n 's/^\([<>]\) [0-9a-f]*/\1/p' | LC_ALL=C sort
"$LX" data undo 2>/dev/null
sums img | cmp -s - before || echo "still mended"
"$LX" data undo --write 2>err
echo "$? $(sed 's/[0-9a-f]\{16\}/RUN/g' err)"
sums img | cmp - before && echo "as they were"
"$LX" show "$("$LX" runs 'name = fix' --columns id | tail -1)" | grep -o 'lx data check .*'
# Folders of two places at once.
"$LX" data check img --reg_data_dir reg --caption_extension .txt --fix --in-place >/dev/null 2>&1
cp "$pictures/cmyk.jpg" reg/1_girl/ && "$LX" data check img --reg_data_dir reg --caption_extension .txt --fix --in-place -q >/dev/null 2>&1
ls reg/1_girl
"$LX" data undo --write -q && "$LX" data undo --write -q
sums img | cmp - before && echo "as they were"
# A second time there is nothing to be mended.
"$LX" data undo
echo $?
