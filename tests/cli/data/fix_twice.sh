# --fix of a set that has a folder twice, folders of one name, and two images that would get one name.
pictures="$SOURCE/tests/golden/data/images/in"
[ -e "$pictures/rgb.png" ] || { echo "skip: no $pictures" >&2; exit 77; }
sums() { (cd "$1" && find . -type f | LC_ALL=C sort | xargs -d '\n' sha256sum); }
# What it says, without the run's id.
fix() {
    "$LX" data check "$@" --near -1 >/dev/null 2>err
    echo "$? $(sed 's/[0-9a-f]\{16\}/RUN/; /findings\? would/d' err)"
}
# ... and back.
undo() {
    "$LX" data undo --write 2>&1 | sed 's/[0-9a-f]\{16\}/RUN/g'
    sums "$1" | cmp - before && echo "as they were"
}
# --dataset_config of these folders, each a dataset of its own.
config() {
    printf '[general]\ncaption_extension = ".txt"\n'
    for folder; do
        resolution=$((${resolution:-32} + 32))
        printf '[[datasets]]\nresolution = %d\n[[datasets.subsets]]\nimage_dir = "%s"\n' $resolution "$folder"
    done
    resolution=
}

echo '== two images of one stem'
mkdir -p st/1_x
cp "$pictures/exif_rot6.jpg" st/1_x/r.jpg
cp "$pictures/cmyk.jpg" st/1_x/r.jpeg
printf 'x, \351\n' >st/1_x/r.txt
sums st >before
fix st --fix --in-place
ls st/1_x
undo st
cp "$pictures/grey.png" st/1_x/r.png
sums st >before
fix st --fix --in-place
ls st/1_x
undo st
rm st/1_x/r.png
fix st --fix --output st.out
(cd st.out/1_x && ls)
cmp st/1_x/r.jpg st.out/1_x/r.jpg

echo '== a folder twice'
mkdir -p sa/img
cp "$pictures/exif_rot6.jpg" sa/img/1.jpg
printf '\357\273\277x, y\r\n' >sa/img/1.txt
cp "$pictures/grey.png" sa/img/2.png
echo 'x, z' >sa/img/2.txt
config sa/img sa/../sa/img >twice.toml
sums sa >before
fix --dataset_config twice.toml --fix --in-place
ls sa/img
undo sa
fix --dataset_config twice.toml --fix --output twice.out
(cd twice.out && find . -type f | LC_ALL=C sort)

echo '== folders of one name'
mkdir -p sb/img
cp "$pictures/rgb.png" sb/img/1.png
echo 'the other' >sb/img/1.txt
cp "$pictures/wide.png" sb/img/3.png
config sa/img sb/img sa/img >names.toml
fix --dataset_config names.toml --fix --output names.out
(cd names.out && find . -type f | LC_ALL=C sort)
cat names.out/img/1.txt "names.out/img (2)/1.txt"


echo '== images of one name, of a metadata file: refused before anything is written'
cat >meta.json <<END
{"$PWD/sa/img/2.png": {"caption": "a"}, "$PWD/sc/2.png": {"caption": "b"}}
END
mkdir sc && cp "$pictures/rgb.png" sc/2.png
printf '[[datasets]]\nresolution = 64\n[[datasets.subsets]]\nmetadata_file = "meta.json"\n' >meta.toml
fix --dataset_config meta.toml --fix --output meta.out
[ -e meta.out ] || echo "no meta.out"
