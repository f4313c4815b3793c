# A picture that cannot be read is named and stops the run; --skip-bad-images goes on without it.
picture=$LX_GOLDENS/e2e/data/reg/1_1girl/reg00.png
[ -e "$picture" ] || { echo "skip: no picture at $picture" >&2; exit 77; }
mkdir -p "img/2_iwl 1girl"
cp "$picture" "img/2_iwl 1girl/good.png"
cp "$SOURCE/tests/badfiles/img_zero_dims.png" "img/2_iwl 1girl/broken.png"
train() {
    "$LX" train --pretrained_model_name_or_path missing.safetensors --train_data_dir img \
        --resolution 128 --output_dir out "$@" 2>err
}
train
[ $? -eq 65 ] && grep -q '2_iwl 1girl/broken.png" cannot be read' err || { cat err; exit 1; }
grep -q -e '--skip-bad-images' err || { cat err; exit 1; }
train --skip-bad-images
[ $? -eq 66 ] && grep -q 'broken.png" is left out' err || { cat err; exit 1; }
