# Several datasets, each with its own size, batch and settings; a metadata file; JSON instead of TOML: the
# arithmetic, the record and the metadata, and the same tensors twice.
make=$(dirname "$LX")/tests/make_checkpoint
pictures=$LX_GOLDENS/e2e/data/train
[ -x "$make" ] && [ -d "$pictures" ] || { echo "skip: no $make or no $pictures" >&2; exit 77; }
"$make" tiny tiny.safetensors || exit 1
mkdir a b c
set -- "$pictures"/*/*.png
cp "$1" a/1.png && cp "$2" a/2.png && cp "$3" b/1.png && cp "$4" c/x.png && cp "$5" c/y.png || exit 1
echo "iwl, 1girl, hat, tea" >a/1.txt
echo "iwl, 1girl, sea" >a/2.txt
echo "nhh, 1boy" >b/1.caption
cat >meta.json <<'END'
{"x.png": {"caption": "a cat", "tags": "cat, roof"}, "y": {"tags": "dog"}}
END
cat >data.toml <<'END'
[general]
enable_bucket = true
min_bucket_reso = 64
max_bucket_reso = 128

[[datasets]]
resolution = 64
batch_size = 2

  [[datasets.subsets]]
  image_dir = "a"
  num_repeats = 3
  caption_extension = ".txt"
  shuffle_caption = true
  keep_tokens = 1

  [[datasets.subsets]]
  image_dir = "b"
  caption_extension = ".caption"
  caption_prefix = "photo of"

[[datasets]]
resolution = [128, 64]
batch_size = 1

  [[datasets.subsets]]
  metadata_file = "meta.json"
  image_dir = "c"
  num_repeats = 2
  flip_aug = true
END
"$LX" plan --dataset_config data.toml --max_train_epochs 2 --seed 1 --learning_rate 1e-3
train() { # OUT CONFIG THREADS
    "$LX" train --pretrained_model_name_or_path tiny.safetensors --text_encoder_heads 4 \
        --dataset_config "$2" --network_dim 4 --learning_rate 1e-2 --max_train_epochs 1 --seed 42 \
        --threads "$3" --output_dir "$1" --output_name a --quiet >log 2>&1 || { cat log; exit 1; }
    tail -c +$(($(od -An -tu8 -N8 "$1/a.safetensors") + 9)) "$1/a.safetensors" >"$1.tensors"
}
train one data.toml 1
train two data.toml 2
cat >data.json <<'END'
{"general": {"enable_bucket": true, "min_bucket_reso": 64, "max_bucket_reso": 128},
 "datasets": [
  {"resolution": 64, "batch_size": 2, "subsets": [
    {"image_dir": "a", "num_repeats": 3, "caption_extension": ".txt", "shuffle_caption": true,
     "keep_tokens": 1},
    {"image_dir": "b", "caption_extension": ".caption", "caption_prefix": "photo of"}]},
  {"resolution": [128, 64], "batch_size": 1, "subsets": [
    {"metadata_file": "meta.json", "image_dir": "c", "num_repeats": 2, "flip_aug": true}]}]}
END
train json data.json 1
cmp one.tensors two.tensors && cmp one.tensors json.tensors && echo "the same tensors"
"$LX" inspect --json one/a.safetensors | grep -E '"ss_(datasets|dataset_dirs|tag_frequency|resolution|num_train)'
# Two runs of one spec, and one of another.
sed -i 's/keep_tokens = 1/keep_tokens = 2/' data.toml
train other data.toml 1
"$LX" runs --columns spec | sed 1d | sort | uniq -c | awk '{print $1}' | sort
# What a metadata file may have wrong.
for text in '{"z.png": {"tags": "x"}}' '{"x.png": 3}' '{"x.png": {"tags": ["a"]}}' '[]' '{}' '{"x.png": '; do
    echo "$text" >meta.json
    "$LX" plan --in_json meta.json --train_data_dir c --resolution 64 --max_train_epochs 1 --seed 1 --learning_rate 1e-3 | grep stop
done
printf '{"image_path": "x.png", "caption": "a cat"}\n\n{"image_path": "y.png"}\n' >meta.jsonl
"$LX" plan --in_json meta.jsonl --train_data_dir c --resolution 64 --dataset_repeats 3 --max_train_epochs 1 \
    --seed 1 --learning_rate 1e-3
"$LX" plan --train_data_dir c --resolution 64 --dataset_repeats 3
