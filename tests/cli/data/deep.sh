# Images that no training would see: inside an image folder at any depth, and below a folder without a number.
picture=$SOURCE/tests/golden/data/dataset/tree/simple/train/4_iwl\ 1girl/s0.png
[ -e "$picture" ] || { echo "skip: no $picture" >&2; exit 77; }
for folder in "3_iwl 1girl" "3_iwl 1girl/new/v1.5" "3_iwl 1girl/new/more" others/4_nhh "others/notes"; do
    mkdir -p "img/$folder"
done
for folder in "3_iwl 1girl" "3_iwl 1girl/new/v1.5" "3_iwl 1girl/new/more" others/4_nhh; do
    cp "$picture" "img/$folder/a.png"
    echo iwl >"img/$folder/a.txt"
done
"$LX" data check img --caption_extension .txt --resolution 64 2>&1 | grep -A 2 folder:
# Links from each of twelve folders to each: every folder is looked into once, where each way to it would take years.
for from in a b c d e f g h i j k l; do
    mkdir "img/others/$from"
    cp "$picture" "img/others/$from/$from.png"
    for to in a b c d e f g h i j k l; do
        ln -s "../$to" "img/others/$from/$to"
    done
done
timeout 10 "$LX" data check img --caption_extension .txt --resolution 64 2>&1 | grep -A 1 deep-folder:
# Captions in the form of Hugging Face's datasets, which nothing reads; beside captions that are read they are of no interest.
mkdir -p table/3_iwl
cp "$picture" table/3_iwl/a.png
echo '{"file_name":"a.png","text":"iwl"}' >table/3_iwl/metadata.jsonl
"$LX" data check table --caption_extension .txt --resolution 64 2>&1 | grep -A 2 caption-table:
echo iwl >table/3_iwl/a.txt
"$LX" data check table --caption_extension .txt --resolution 64 2>&1 | grep -c caption-table:
