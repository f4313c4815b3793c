# A run that was pushed and removed here comes back by a pull, and what both stores imported is not taken again and again.
command -v git >/dev/null || { echo "skip: no git" >&2; exit 77; }
[ -e "${LX_FAKE_CLOCK_LIBRARY:-}" ] || { echo "skip: no fake clock" >&2; exit 77; }
git init -q --bare runs.git
id=$("$LX" log --new r loss=1 --end finished)
"$LX" log --new other loss=1 --end finished >/dev/null
"$LX" push runs.git
"$LX" pull runs.git
"$LX" tag-run r --trash >/dev/null
echo "== in the trash it is still here"
"$LX" pull runs.git
LD_PRELOAD=$LX_FAKE_CLOCK_LIBRARY LX_FAKE_CLOCK=1728000 "$LX" gc --prune | head -n 1 | sed "s/$id/ID/"
"$LX" runs --columns name,loss
echo "== and now it is not"
"$LX" pull runs.git --dry-run
"$LX" pull runs.git "$id"
"$LX" runs --columns name,loss --sort name
"$LX" pull runs.git
"$LX" push runs.git
echo "== two stores imported the same"
. "$SOURCE/tests/support/lora.sh"
mkdir loras
make_lora loras/style.safetensors "$(session_metadata 11 3 3)"
for home in one two; do
    "$LX" --store $home import loras | tail -n 1
done
git init -q --bare theirs.git
"$LX" --store one push theirs.git
"$LX" --store two pull theirs.git --dry-run
"$LX" --store two pull theirs.git
"$LX" --store two pull theirs.git --dry-run
"$LX" --store two note style11 "of two" >/dev/null
"$LX" --store two push theirs.git
