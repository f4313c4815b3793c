# One page that fetches nothing: every image, its caption, what is found about it; names that act nowhere.
. "$SOURCE/tests/support/faulty_set.sh"
evil='"><script>alert(1)</script>&'
cp "$pictures/tiny.png" "$set/$(printf '%s' "$evil" | tr / _)	tab\\.png"
printf '%s, </textarea><img src=x onerror=alert(2)>\n' "$evil" >"$set/$(printf '%s' "$evil" | tr / _)	tab\\.txt"
sheet() {
    "$LX" data sheet "$@" 2>err </dev/null
    echo "$? $(cat err)" | sed 's/[0-9.]* MB/SIZE/'
}
sheet img -o sheet.html --resolution 128 --enable_bucket --min_bucket_reso 64 --max_bucket_reso 256
sheet img -o sheet.html
sheet img
sheet img -o x.html --size 10
sheet nowhere -o x.html
sheet empty -o x.html
mkdir empty
sheet empty -o x.html
ls x.html 2>/dev/null
grep -c '<figure' sheet.html
grep -o 'src="data:image/jpeg;base64,' sheet.html | wc -l
grep -o 'data-name="[^"]*tab[^"]*"' sheet.html
grep -c '<script>alert\|<img src=x\|https\?://' sheet.html
grep -o 'script-src &#39;sha256-' sheet.html
sed -n 's/.*<pre>\(.*\)<\/pre>/\1/p' sheet.html
# The same bytes again, whatever the number of threads.
OMP_NUM_THREADS=3 "$LX" data sheet img -o again.html --resolution 128 --enable_bucket --min_bucket_reso 64 --max_bucket_reso 256 -q 2>&1
cmp sheet.html again.html && echo same
# Folders of several places: names begin where all lie.
sheet img --reg_data_dir reg --caption_extension .txt -o both.html --resolution 128
sed -n 's/.*<pre>\(.*\)<\/pre>/\1/p' both.html
grep -o 'data-name="reg[^"]*"' both.html
