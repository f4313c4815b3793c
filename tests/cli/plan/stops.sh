# What would stop a training: the caption trap, wrong levels, broken files; all in one look.
cd "$LX_GOLDENS/data/dataset" 2>/dev/null || { echo "skip: no goldens at $LX_GOLDENS" >&2; exit 77; }
[ -d tree/hobby ] || { echo "skip: no tree at $LX_GOLDENS" >&2; exit 77; }
try() {
    "$LX" plan --resolution 512 --enable_bucket --learning_rate 1e-4 --network_alpha 4 "$@" |
        grep '^stop:'
    "$LX" plan --resolution 512 --enable_bucket --json "$@" >/dev/null 2>&1
    echo $?
}
try --train_data_dir tree/simple/train
try --train_data_dir tree/simple/train --allow-untagged
try --train_data_dir 'tree/hobby/train/40_nikkeanis 1girl'
try --train_data_dir tree/hobby --caption_extension .txt
try --train_data_dir tree/nowhere
try --train_data_dir tree/simple/train --caption_extension .txt --reg_data_dir tree/nowhere
try --train_data_dir tree/bad_image
try --train_data_dir tree/bad_image --skip-bad-images
try --train_data_dir tree/bad_sjis --caption_extension .txt
"$LX" plan --train_data_dir tree/simple/train --resolution 512 --caption_extension .txt \
    --bucket_no_upscale --enable_bucket --bucket_reso_steps 32 >/dev/null
echo $?
