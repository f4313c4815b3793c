# --face_crop_aug_range: where it works, where it stops, and the same draws in every run.
. "$SOURCE/tests/support/tiny.sh"
mv "img/3_iwl 1girl/a.png" "img/3_iwl 1girl/a_60_50_30_40.png"
flags=$(echo $flags | sed 's/--cache_latents//')
train() { # NAME FLAG...
    name=$1
    shift
    "$LX" train $flags --max_train_steps 3 --seed 7 --output_dir out --output_name "$name" "$@" >"$name.out" \
        2>"$name.log" || { grep '^lx' "$name.log"; return; }
    tensors out/$name.safetensors >"$name.hash"
}
train plain
train one --face_crop_aug_range 1.5,3
grep 'face' one.log
train two --face_crop_aug_range 1.5,3 --threads 2
cmp one.hash two.hash
cmp -s one.hash plain.hash && echo "it changes nothing"
train random --face_crop_aug_range 1.5,3 --random_crop
cmp -s one.hash random.hash && echo "random_crop changes nothing"
"$LX" inspect --json out/one.safetensors | grep -o '"ss_face_crop_aug_range": "[^"]*"'
for range in 3,1.5 0,1 2 1,x 1,2,3 -1,2 nan,nan; do
    train bad --face_crop_aug_range="$range"
done
train bad --face_crop_aug_range 1,2 --cache_latents
train bad --face_crop_aug_range 1,2 --enable_bucket
cat >data.toml <<'END'
[[datasets]]
resolution = 64
  [[datasets.subsets]]
  image_dir = "img/3_iwl 1girl"
  caption_extension = ".txt"
  num_repeats = 3
  class_tokens = "iwl 1girl"
  face_crop_aug_range = [1.5, 3]
END
train config --dataset_config data.toml
cmp one.hash config.hash
sed 's/\[1.5, 3\]/3/' data.toml >bad.toml
train bad --dataset_config bad.toml
