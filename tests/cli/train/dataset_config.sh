# One dataset; its settings win over the flags, its folders stand for train_data_dir.
cat >data.toml <<'EOF'
[general]
caption_extension = ".txt"
shuffle_caption = true
keep_tokens = 1

[[datasets]]
resolution = [512, 768]
batch_size = 2
enable_bucket = true

  [[datasets.subsets]]
  image_dir = "a"
  num_repeats = 4
  class_tokens = "iwl 1girl"

  [[datasets.subsets]]
  image_dir = "a"

  [[datasets.subsets]]
  image_dir = 'H:\reg'
  is_reg = true
EOF
"$LX" debug flags --dataset_config data.toml --train_data_dir img --train_batch_size 8 --seed 1 \
    --learning_rate 1e-4 --caption_extention .cap --path-map 'H:\=/mnt/h' | sed 's/^"resolved".*"resolution":\("[^"]*"\).*"train_batch_size":\([0-9]*\).*/\1 \2/'
