# Captions that the flags do not read stop the run before the model, which is missing, is looked for.
data=$LX_GOLDENS/e2e/data/train
[ -d "$data" ] || { echo "skip: no pictures at $data" >&2; exit 77; }
train() {
    "$LX" train --pretrained_model_name_or_path missing.safetensors --train_data_dir "$data" \
        --resolution 128 --output_dir out --network_module networks.lora "$@" 2>err
}
train
[ $? -eq 1 ] || { cat err; exit 1; }
grep -q '8 caption files (.txt) beside the images would not be read' err || { cat err; exit 1; }
grep -q -e '--caption_extension .txt' err || { cat err; exit 1; }
[ ! -e out ] && [ ! -e "$LX_STORE" ] || { echo "something was made before the stop"; exit 1; }
# Allowed, or read: on to the model.
train --allow-untagged
[ $? -eq 66 ] && grep -q 'missing.safetensors' err && grep -q 'are not read' err || { cat err; exit 1; }
train --caption_extension .txt
[ $? -eq 66 ] && grep -q 'missing.safetensors' err || { cat err; exit 1; }
! grep -q 'not read' err
