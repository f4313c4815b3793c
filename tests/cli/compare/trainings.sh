# Real trainings: what was changed is told and nothing else; draws are paired by the seed; one spec
# gives one result; a LoRA with other metadata finds its run; --like starts from a run's flags.
make=$(dirname "$LX")/tests/make_checkpoint
pictures=$LX_GOLDENS/e2e/data/reg/1_1girl
[ -x "$make" ] && [ -e "$pictures/reg00.png" ] || { echo "skip: no $make or no $pictures" >&2; exit 77; }
"$make" tiny tiny.safetensors || exit 1
folder="img/2_iwl 1girl"
mkdir -p "$folder"
cp "$pictures/reg00.png" "$folder/a.png"
cp "$pictures/reg01.png" "$folder/b.png"
echo "iwl, solo, smile" >"$folder/a.txt"
echo "iwl, from behind" >"$folder/b.txt"
train() {
    "$LX" train -q --output_dir out --output_name "$@" >log 2>&1 || { cat log; exit 1; }
}
flags="--pretrained_model_name_or_path tiny.safetensors --text_encoder_heads 4 --train_data_dir img
    --caption_extension .txt --resolution 64 --enable_bucket --min_bucket_reso 64 --cache_latents
    --network_module networks.lora --max_train_epochs 4 --seed 1"
train one $flags --learning_rate 1e-3
train again $flags --learning_rate 1e-3
train faster $flags --learning_rate 1e-2
# COMPARE without ids, dates and numbers of the losses
strip() {
    sed 's/[0-9a-f]\{10\}/ID/g; s/20[0-9][0-9]-[0-9-]* [0-9:]*/DATE/; /^  .*|/d; s/[-+]\{0,1\}[0-9]\.[0-9][0-9e.-]*/X/g; s/  */ /g'
}
echo "== the same spec"
"$LX" compare --check one again >same || exit
sed -n '/the same spec/p; /^the same:/p; /they are equal/p' same | strip
echo "== the same spec, another result"
if command -v sqlite3 >/dev/null; then
    sqlite3 "$LX_STORE/store.db" "UPDATE artifact SET tensor_hash=zeroblob(32)
        WHERE role='lora' AND run=(SELECT seq FROM run WHERE name='again')"
    "$LX" compare --check one again >same 2>&1
    echo "exit $?"
    grep '^finding' same
else
    printf 'exit 1\nfinding: a and b have the same spec, but their LoRAs differ\n'
fi
echo "== another rate"
"$LX" compare one faster | sed -n '/^flags/,/^$/p; /too few/p; /^the same:/p' | strip
"$LX" compare --window 1 one faster | sed -n '/paired/p' | strip
echo "== other captions alone leave the draws alone"
echo "iwl, solo, frown" >"$folder/a.txt"
train frown $flags --learning_rate 1e-3
"$LX" compare --window 1 one frown | sed -n '/^  ~/p; /paired/p' | strip
echo "== other data"
printf 'iwl, solo, blush, \033]0;title\007<b>\n' >"$folder/a.txt"
mv "$folder/b.png" "$folder/c.png"
mv "$folder/b.txt" "$folder/c.txt"
cp "$pictures/reg02.png" "$folder/d.png"
echo "iwl" >"$folder/d.txt"
train data --like one
"$LX" compare one data | sed -n '/^flags/,/^$/p; /^data/,/^$/p' | strip
"$LX" compare one data --json | grep -A12 '"kind": "caption"'
"$LX" compare one data | grep -c "$(printf '\033')"
echo "== the run of a LoRA"
"$LX" show out/one.safetensors 2>&1 | head -1 | strip
LC_ALL=C sed 's/"ss_output_name"/"ss_output_nome"/' out/faster.safetensors >bare.safetensors || exit
"$LX" show bare.safetensors 2>&1 | head -1 | strip
"$LX" compare out/one.safetensors bare.safetensors 2>/dev/null | sed -n '/^flags/,/^$/p' | strip
echo "== like"
"$LX" train --like one 2>&1 | tail -1 | strip
"$LX" train --like nobody
"$LX" train --like one --output_name two --learning_rate 5e-3 --output_dir out 2>&1 >/dev/null | sed -n '/^note: from/p' | strip
"$LX" runs 'lr = 5e-3' --columns name,lr,epochs,seed
