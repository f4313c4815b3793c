# LoRAs merged into the base model first: what begins there begins where the LoRA itself would go on from.
make=$(dirname "$LX")/tests/make_checkpoint
pictures=$LX_GOLDENS/e2e/data/train
[ -x "$make" ] && [ -d "$pictures" ] || { echo "skip: no $make or no $pictures" >&2; exit 77; }
"$make" tiny tiny.safetensors || exit 1
cp -r "$pictures" img && chmod -R u+w img || exit 1
train() { # OUT FLAG...
    out=$1
    shift
    "$LX" train --pretrained_model_name_or_path tiny.safetensors --text_encoder_heads 4 \
        --train_data_dir img --resolution 64 --learning_rate 1e-2 --caption_extension .txt \
        --train_batch_size 2 --seed 42 --cache_latents --threads 1 --output_dir "$out" \
        --output_name a --quiet --max_train_steps 4 --validate_every_n_steps 4 \
        --max_validation_steps 2 "$@" >"$out.log" 2>&1
}
first() { sed -n 's/validation at step 0: loss \([0-9.]*\).*/\1/p' "$1.log"; }
last() { sed -n 's/validation at step 4: loss \([0-9.]*\).*/\1/p' "$1.log"; }
near() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a > 0 && (a - b) ^ 2 < 1e-9) }'; }
train made --network_dim 4 --network_alpha 2 --network_args conv_dim=2 || { cat made.log; exit 1; }
lora=made/a.safetensors
train merged --network_dim 4 --base_weights $lora || { cat merged.log; exit 1; }
near "$(first merged)" "$(last made)" && echo "merged: it begins where the LoRA ended"
train halves --network_dim 4 --base_weights $lora $lora --base_weights_multiplier 0.25 0.75 || { cat halves.log; exit 1; }
near "$(first halves)" "$(last made)" && echo "in two parts: the same"
train none --network_dim 4 --base_weights $lora --base_weights_multiplier 0 || { cat none.log; exit 1; }
near "$(first none)" "$(first made)" && echo "at 0: the base model"
train on --network_weights $lora --dim_from_weights --network_dim 16 || { cat on.log; exit 1; }
near "$(first on)" "$(last made)" && echo "gone on with: the same"
"$LX" runs --columns spec | sed 1d | sort -u | wc -l
train x --network_weights $lora --network_dim 16
echo $?
tail -1 x.log
train x --network_dim 4 --dim_from_weights
echo $?
tail -1 x.log
train x --network_dim 4 --base_weights $lora --base_weights_multiplier 1 2
echo $?
tail -1 x.log
train x --network_dim 4 --base_weights img
echo $?
# Remarks for the file; a picture becomes part of it.
train remarks --network_dim 4 --metadata_trigger_phrase "iwl, hat" --metadata_thumbnail img/*/img00.png || { cat remarks.log; exit 1; }
"$LX" inspect --json remarks/a.safetensors | grep -o '"modelspec.trigger_phrase": "[^"]*"\|data:image/png;base64,iVBOR'
for o in RAdamScheduleFree SGDScheduleFree; do
    train one --network_dim 4 --optimizer_type $o --save_every_n_steps 2 --save_state || { cat one.log; exit 1; }
    cp one/a.safetensors $o.safetensors
    train two --network_dim 4 --optimizer_type $o --threads 2 --resume one/a-step00000002-state || { cat two.log; exit 1; }
    tail -c 20000 $o.safetensors >a && tail -c 20000 two/a.safetensors >b && cmp a b && echo "$o: the same after a resume"
done
