# Pointing at an image folder itself, or one level too high, is recognised and the right path named.
picture=$LX_GOLDENS/e2e/data/reg/1_1girl/reg00.png
[ -e "$picture" ] || { echo "skip: no picture at $picture" >&2; exit 77; }
mkdir -p "top/img/5_darius 1boy" flat
cp "$picture" "top/img/5_darius 1boy/a.png"
cp "$picture" flat/a.png
try() {
    "$LX" train --pretrained_model_name_or_path missing.safetensors --train_data_dir "$1" \
        --resolution 128 --output_dir out 2>err
    [ $? -eq "${3-1}" ] && grep -qF -e "$2" err || { cat err; exit 1; }
}
try "top/img/5_darius 1boy" '--train_data_dir "top/img"'
try top 'one level deeper: --train_data_dir "top/img"'
try flat 'flat/10_identifier class'
try nowhere '"nowhere" is no folder' 66
