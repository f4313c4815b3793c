# Lines that say an image twice, names of another machine, folders without words, names of cropped faces, endings in capitals, random crops of
# what has no bucket.
picture=$LX_GOLDENS/e2e/data/reg/1_1girl/reg00.png
[ -e "$picture" ] || { echo "skip: no $picture" >&2; exit 77; }
mkdir -p img/1_x nt/x m faces/1_x
cp "$picture" img/1_x/a.png
cp "$picture" nt/x/a.png
cp "$picture" m/a.PNG
cp "$picture" faces/1_x/a_10_10_20_20.png
echo smile >faces/1_x/a.txt
plan() { "$LX" plan --resolution 64 --learning_rate 1e-4 --network_alpha 4 "$@" | grep '^[a-z]*:'; }
printf '{"image_path":"a.png","caption":"one"}\n{"image_path":"a.png","caption":"two"}\n' >twice.jsonl
"$LX" plan --resolution 64 --json --in_json twice.jsonl --train_data_dir img/1_x | grep '"images"' | head -1
printf '{"H:\\\\sd\\\\a.png":{"caption":"one"}}' >windows.json
printf '{"1_x\\\\a.png":{"caption":"one"}}' >relative.json
plan --in_json windows.json --train_data_dir img/1_x | grep windows
plan --in_json windows.json --train_data_dir img/1_x --path-map "H:\\sd=$PWD/img/1_x" | grep windows
plan --in_json relative.json --train_data_dir img | grep relative
for i in $(seq 32); do printf '{"image_path":"n%d.png","caption":"a"}\n' "$i"; done >absent.jsonl
plan --in_json absent.jsonl --train_data_dir img | grep absent | tail -2
mkdir -p lots/1_x
for i in $(seq 32); do cp "$picture" "lots/1_x/i$i.png"; done
plan --train_data_dir lots --masked_loss --conditioning_data_dir m | grep mask | tail -1
cat >words.toml <<'END'
[[datasets]]
[[datasets.subsets]]
image_dir = "nt/x"
END
plan --dataset_config words.toml | grep words
{ echo '[[datasets]]'; for i in $(seq 31); do printf '[[datasets.subsets]]\nimage_dir = "nt/x"\n'; done; } >many.toml
plan --dataset_config many.toml | grep 'twice' | tail -2
plan --train_data_dir faces | grep 'not be read'
plan --train_data_dir img --masked_loss --conditioning_data_dir m | grep mask
plan --train_data_dir img --random_crop | grep cropped
mkdir -p thin/1_x # a picture of one line, which would be blown up to 64 of them
{
    printf 'BM\272\003\000\000\000\000\000\000\066\000\000\000\050\000\000\000\054\001\000\000\001\000\000\000\001\000\030\000'
    printf '\000\000\000\000\204\003\000\000'
    head -c 916 /dev/zero
} >thin/1_x/a.bmp
"$LX" plan --train_data_dir thin --resolution 192 --enable_bucket --min_bucket_reso 64 >/dev/null
printf '[[datasets]]\n[[datasets.subsets]]\nimage_dir = "nt/x"\nclass_tokens = "x"\n[[datasets.subsets]]\nimage_dir = "img/1_x"\n' >off.toml
echo 'num_repeats = 0' >>off.toml
plan --dataset_config off.toml | grep '^warning'
printf '[[datasets]]\n[[datasets.subsets]]\nimage_dir = "img/1_x"\nnum_repeats = -1\n' >off.toml
plan --dataset_config off.toml
printf '[[datasets]]\n[[datasets.subsets]]\nimage_dir = "img/1_x"\n[[datasets]]\n[[datasets.subsets]]\nimage_dir = "nt/x"\nnum_repeats = 0\n' >off.toml
"$LX" plan --resolution 64 --dataset_config off.toml --json | grep -E '"(images|steps|batches)"' | head -3
plan --train_data_dir img --enable_bucket --bucket_no_upscale --min_bucket_reso 32 --resolution 128 | grep no_upscale
printf 'train_data_dir = "img"\nreg_data_dir = ""\n' >empty.toml # asks for nothing
plan --config_file empty.toml | grep '^stop' || echo none
