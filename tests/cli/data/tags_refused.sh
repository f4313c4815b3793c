# Wrong words, captions that are no text, files that changed in between, paths that lead elsewhere.
set="img/4_iwl 1girl"
pictures="$SOURCE/tests/golden/data/images/in"
[ -e "$pictures/rgb.png" ] || { echo "skip: no $pictures" >&2; exit 77; }
mkdir -p "$set" empty
cp "$pictures/tiny.png" "$set/1.png"
cp "$pictures/tiny.png" "$set/2.png"
printf 'a, b\n' >"$set/1.txt"
printf 'a\033[31m\n' >"$set/2.txt"
try() {
    "$LX" data tags "$@" >out 2>err </dev/null
    echo "$? $(sed 's/[0-9a-f]\{16\}/RUN/g' err)"
}
try
try img frobnicate
try img replace a
try img replace a b c
try img replace 'a, b' c
try img prepend
try img prepend ,
try img prepend "$(printf 'a\nb')"
try img dedupe a
try img sort --keep_tokens -1
try empty
try nowhere
try img --caption_extension .cap
# Nothing of a caption acts on the terminal.
try img append x
LC_ALL=C tr -d '\12\40-\176' <out | wc -c
# One file that is no text: nothing at all is written.
printf '\217\255\217\227\n' >"$set/2.txt"
try img append x --write
cat "$set/1.txt"
printf 'b\n' >"$set/2.txt"
try img append x --write
# Changed since: named, and nothing is taken back.
printf 'mine\n' >>"$set/2.txt"
try --undo --write
cat "$set/1.txt"
printf 'b, x\n' >"$set/2.txt"
# ... gone since: the same.
mv "$set/1.txt" kept
try --undo --write
mv kept "$set/1.txt"
try --undo nonsense --write
try --undo a b
try --undo --write
cat "$set/1.txt" "$set/2.txt"
try --undo --write
# A caption that is a symbolic link is not replaced by a file.
mv "$set/2.txt" elsewhere.txt
ln -s ../../elsewhere.txt "$set/2.txt"
try img append y --write
cat "$set/1.txt" elsewhere.txt
rm "$set/2.txt"
# A run that is no change; a folder that cannot be written leaves the old bytes.
"$LX" log --new other - </dev/null >id
try --undo "$(cat id)" --write
# What a verb does not look at.
try img list --write
try img --write
try img count --keep_tokens 1
try img prepend x --keep_tokens 1
try img dedupe --json
try img sort --json
try --undo --json
