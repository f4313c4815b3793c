# One run as HTML, Markdown and JSON; two as one page. No page asks for anything outside.
make=$(dirname "$LX")/tests/make_run
data=$LX_GOLDENS/e2e/data/train
[ -x "$make" ] && [ -d "$data" ] || { echo "skip: no $make or no $data" >&2; exit 77; }
"$make" "$LX_STORE" "$data" hifumi && "$make" "$LX_STORE" "$data" second || exit 1
"$LX" report hifumi -o a.html 2>/dev/null || exit 1
"$LX" report hifumi second -o b.html 2>/dev/null || exit 1
"$LX" report hifumi -o "a b.md" 2>/dev/null || exit 1
"$LX" report hifumi --format json >a.json || exit 1
for page in a.html b.html; do
    grep -q 'src="data:image/jpeg;base64,' $page || { echo "$page: no picture"; exit 1; }
    if grep -qE '(src|href)="?(https?:|//)|url\(|@import|sourceMappingURL' $page; then
        echo "$page fetches something"
        exit 1
    fi
    [ "$(grep -c "sha256-" $page)" -eq 1 ] || { echo "$page: no policy"; exit 1; }
done
grep -c '<h2' a.html b.html
[ -s "a b.files/loss.svg" ] && [ -s "a b.files/sample-1.jpg" ] || { ls -R; exit 1; }
grep '](<a b.files/loss.svg>)' "a b.md"
sed -n 3,5p "a b.md"
"$LX" report hifumi --no-images --format md | grep -c 'jpeg'
# 0 is none, and not what comes without it.
for of in '--images 0' '--images 3' '--tags 0' '--tags 2'; do
    "$LX" report hifumi --inline --format md $of >few.md || exit 1 # two words
    echo "$of: $(grep -c '^- !\[img' few.md) images, $(sed -n '/^| tag |/,/^$/p' few.md | grep -c '^| [^-t]') tags"
    grep 'more tags' few.md
done
exit 0
