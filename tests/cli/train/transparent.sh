# A transparent picture is named, with the colour it is laid on.
picture=$LX_GOLDENS/data/images/in/rgba.png
[ -e "$picture" ] || { echo "skip: no picture at $picture" >&2; exit 77; }
mkdir -p "img/2_iwl 1girl"
cp "$picture" "img/2_iwl 1girl/glass.png"
"$LX" train --pretrained_model_name_or_path missing.safetensors --train_data_dir img \
    --resolution 128 --output_dir out 2>err
[ $? -eq 66 ] && grep -q '1 image can be transparent, for example "img/2_iwl 1girl/glass.png"' err &&
    grep -q 'white' err || { cat err; exit 1; }
