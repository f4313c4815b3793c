# Masks weigh the loss: alpha and mask files, cached and not, mirrored, the same twice, with two threads and
# after a resume; what is missing is said.
make=$(dirname "$LX")/tests/make_checkpoint
images=$LX_GOLDENS/data/images/in
[ -x "$make" ] && [ -e "$images/rgba.png" ] || { echo "skip: no $make or no $images" >&2; exit 77; }
"$make" tiny tiny.safetensors || exit 1
mkdir -p "img/2_iwl 1girl" masks
cp "$images/rgba.png" "img/2_iwl 1girl/a.png"
cp "$images/rgb.png" "img/2_iwl 1girl/b.png"
tensors() { tail -c +$(($(od -An -tu8 -N8 "$1") + 9)) "$1"; }
train() { # OUT THREADS FLAG...
    out=$1 threads=$2
    shift 2
    "$LX" train --pretrained_model_name_or_path tiny.safetensors --text_encoder_heads 4 \
        --train_data_dir img --resolution 128 --network_dim 4 --learning_rate 1e-2 \
        --train_batch_size 2 --max_train_steps 4 --seed 42 --threads "$threads" --output_dir "$out" \
        --output_name a --quiet "$@" >log 2>&1 || { cat log; exit 1; }
    tensors "$out/a.safetensors" >"$out.tensors"
}
check() { # NAME FLAG...
    name=$1
    shift
    train one 1 --save_every_n_steps 2 --save_state "$@"
    train two 2 "$@"
    train resumed 2 --resume one/a-step00000002-state "$@"
    cmp -s one.tensors two.tensors || { echo "$name: other tensors with two threads"; exit 1; }
    cmp -s one.tensors resumed.tensors || { echo "$name: other tensors after a resume"; exit 1; }
    cmp -s one.tensors plain.tensors && { echo "$name: it changes nothing"; exit 1; }
    rm -rf one two resumed
}
train plain 1 --cache_latents
check alpha --cache_latents --alpha_mask
check uncached --alpha_mask --flip_aug --random_crop --enable_bucket --min_bucket_reso 64 --max_bucket_reso 256
# Each image as its own mask.
cp "$images/rgba.png" masks/a.png
cp "$images/rgb.png" masks/b.png
check files --cache_latents --masked_loss --conditioning_data_dir masks
rm masks/b.png
plan() { "$LX" plan --train_data_dir img --resolution 128 --seed 1 --learning_rate 1e-3 "$@"; }
plan --masked_loss --conditioning_data_dir masks | grep stop
plan --masked_loss
echo $?
plan --conditioning_data_dir masks
echo $?
cp "$images/wide.png" masks/b.png
"$LX" train --pretrained_model_name_or_path tiny.safetensors --text_encoder_heads 4 --train_data_dir img \
    --resolution 128 --output_dir x --masked_loss --conditioning_data_dir masks --quiet --seed 1 \
    --learning_rate 1e-3 --max_train_steps 1 --cache_latents 2>&1 | grep -o 'masks/b.png.*'
# EXIF: turned, or as stored.
rm img/*/* && cp "$images/exif_rot6.jpg" img/*/
plan --enable_bucket --min_bucket_reso 64 --max_bucket_reso 256 | grep -e EXIF -e ' x .* -> '
plan --enable_bucket --min_bucket_reso 64 --max_bucket_reso 256 --ignore_exif | grep -e EXIF -e ' x .* -> '
plan --resize_interpolation cubist
echo $?
