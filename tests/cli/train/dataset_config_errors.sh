try() {
    printf '%s\n' "$1" >data.toml
    "$LX" debug flags --dataset_config data.toml
    echo $?
}
try 'resolution = 512'
try '[general]
shuffle = true
[[datasets]]
resolution = 512'
try '[[datasets]]
resolution = 512'
try '[[datasets]]
image_dir = "x"'
try '[[datasets]]
[[datasets.subsets]]
num_repeats = 2'
try '[[datasets]]
[[datasets.subsets]]
image_dir = "x"
num_repeats = 1.5'
try '[[datasets]]
[[datasets.subsets]]
image_dir = "x"
[[datasets.subsets]]
image_dir = "y"
keep_tokens = "two"'
try '[[datasets]]
resolution = 64
[[datasets.subsets]]
image_dir = "x"
[[datasets]]
[[datasets.subsets]]
image_dir = "y"'
try '[[datasets]]
[[datasets.subsets]]
image_dir = "x"
keep_tokens = "one"'
try '[[datasets]]
[[datasets.subsets]]
metadata_file = "m.json"
[[datasets.subsets]]
image_dir = "x"'
try '[[datasets]]
[[datasets.subsets]]
metadata_file = "m.json"
is_reg = true'
try '[general]
validation_split = "a tenth"
[[datasets]]
[[datasets.subsets]]
image_dir = "x"'
try '[[datasets]]
[[datasets.subsets]]
image_dir = "x"
batch_size = 2'
try 'datasets = 3'
try '[[datasets]]
subsets = [1]'
cat >data.json <<'END'
{
  "general": {"shuffle_caption": true},
  "datasets": [
    {"subsets": [
      {"image_dir": "x",
       "num_repeat": 2}
    ]}
  ]
}
END
"$LX" debug flags --dataset_config data.json
echo $?
