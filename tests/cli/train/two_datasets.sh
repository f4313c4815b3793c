# Two datasets, a regularisation folder, settings at every level: the metadata that sd-scripts v0.10.1 wrote, key by
# key, but for modelspec.resolution, which there is 512x512 whatever the datasets say.
make=$(dirname "$LX")/tests/make_checkpoint
golden=$SOURCE/tests/golden/e2e/two_datasets
[ -x "$make" ] && [ -d "$LX_GOLDENS/e2e/data/train" ] || { echo "skip: no $make or no $LX_GOLDENS" >&2; exit 77; }
"$make" tiny tiny.safetensors || exit 1
cp -r "$LX_GOLDENS/e2e/data" . && cp "$golden/two.toml" . || exit 1
# The metadata of JSON, a key a line, without what no two runs share and what names the program.
metadata() {
    sed -n 's/^ *\("[^"]*": ".*"\),\{0,1\}$/\1/p' "$1" | grep -v -E '^"(lx\.|ss_session_id|ss_training_'\
'(started|finished)_at|modelspec\.(date|implementation_version|resolution)|sshs_)' | LC_ALL=C sort
}
"$LX" train "$(cat "$golden/command.txt")" --text_encoder_heads 4 --threads 1 -q >log 2>&1 || { cat log; exit 1; }
"$LX" inspect --json out/two.safetensors | sed -n '/^  "metadata": {/,/^  }/p' >json
metadata json >got
metadata "$golden/two.metadata.json" >wanted
[ -s wanted ] && diff -u wanted got
