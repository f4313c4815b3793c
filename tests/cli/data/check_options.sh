# The same flags as lx train; a folder of images by itself; wrong uses; nothing found is exit status 0.
. "$SOURCE/tests/support/faulty_set.sh"
try() {
    "$LX" data check "$@" >out 2>err </dev/null
    echo "$? $(cat err | head -1)"
}
try
try nowhere
try img --train_data_dir img
try img --fix
try img --fix --output x --in-place
try img --output x
try img --near 65
try img --near x
try img --caption_extention
try img --resolution 128 --enable_bucket --min_bucket_reso 600
try reg --resolution 128
try reg/1_girl --resolution 128
tail -1 out
mkdir girls && cp reg/1_girl/* girls
try girls --resolution 128,64
grep -A 2 wrong-level out
cat >set.toml <<'EOF'
[general]
caption_extension = ".txt"
[[datasets]]
resolution = 128
enable_bucket = true
min_bucket_reso = 64
max_bucket_reso = 256
  [[datasets.subsets]]
  image_dir = "img/10_nikkeanis 1girl"
  class_tokens = "nikkeanis"
  num_repeats = 2
EOF
try --dataset_config set.toml
grep -c caption-trap out
sed -n '/^folder/,$p' out
# Words of every command stand anywhere.
"$LX" data check -q --store x --json girls --resolution 128 | head -2
# More tokens, another identifier, near duplicates of any distance.
"$LX" data check img --caption_extension .txt --max_token_length 150 --identifier nik --near 40 >out 2>/dev/null
grep -E '^(warning: cut|note: identifier)' -A 1 out
grep -c 'warning: near-duplicate' out
# A word of which only a part is left; brackets that are no words with --weighted_captions.
mkdir -p long/1_x
cp "$pictures/tiny.png" long/1_x/a.png
printf 'x,%s nikkeanis, end\n' "$(i=0; while [ $i -lt 72 ]; do printf ' a'; i=$((i + 1)); done)" >long/1_x/a.txt
"$LX" data check long --caption_extension .txt | grep -A 2 'warning: cut'
printf '(((x:1.2))),%s\n' "$(i=0; while [ $i -lt 72 ]; do printf ' a'; i=$((i + 1)); done)" >long/1_x/a.txt
"$LX" data check long --caption_extension .txt | grep -A 1 'warning: cut'
"$LX" data check long --caption_extension .txt --weighted_captions | grep -c 'warning: cut'
# Captions of a metadata file; with wildcards tags stand behind the caption's lines, and without a caption nowhere.
mkdir wild
for n in a b c; do cp "$pictures/tiny.png" wild/$n.png; done
printf '{"a": {"caption": "x\\ny", "tags": "red\\nblue"}, "b": {"caption": "x", "tags": "red"}, "c": {"tags": "red"}}' >wild.json
for flag in "" --enable_wildcard; do
    "$LX" data check --in_json wild.json --train_data_dir wild --resolution 64 $flag | grep -i -A 2 'empty\|no-caption'
    "$LX" data check --in_json wild.json --train_data_dir wild --resolution 64 $flag --json --all | grep -o '"tokens": [0-9]*'
done
printf '{"a": {"caption": "x, a girl", "tags": "long_hair, long hair"}}' >meta.json
"$LX" data check --in_json meta.json --train_data_dir long/1_x --resolution 64 | sed '/^buckets/,$d' | grep -v -E '^(folder|epoch| )'
