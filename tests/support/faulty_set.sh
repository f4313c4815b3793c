# faulty_set.sh - a dataset with every fault, in img/ and reg/ of the working folder; sourced by cases
pictures="$SOURCE/tests/golden/data/images/in"
[ -e "$pictures/rgb.png" ] || { echo "skip: no $pictures" >&2; exit 77; }
set="img/10_nikkeanis 1girl"
mkdir -p "$set/deeper" "img/20_other" "img/plain" reg/1_girl

put() { cp "$pictures/$1" "$set/$2"; }
caption() { printf "$2" >"$set/$1.txt"; }

put rgb.png mark.png;            caption mark '\357\273\277nikkeanis, long hair, blue eyes\r\n'
put lossless.webp under.webp;    caption under 'nikkeanis, long_hair, red ribbon, smile\n'
put odd_1px.png sjis.png;        caption sjis '\217\255\217\227, nikkeanis\n'
put grey.jpg latin.jpg;          caption latin 'nikkeanis, caf\351\n'
put rgb.bmp gbk.bmp;             caption gbk '\311\331\305\256\272\315\311\331\305\256, nikkeanis\n'
put cmyk.jpg cmyk.jpg;           caption cmyk 'nikkeanis, blue eyes, red ribbon, smile\n'
put exif_rot6.jpg rotated.jpg;   caption rotated ''
put palette.png palette.png;     caption palette 'nikkeanis, red ribbon, smile, smile\n'
put rgba.png clear.png;          caption clear 'blue eyes, red ribbon, smile\nsecond line\n'
put grey16.png grey16.png;       caption grey16 'nikkeanis, <script>alert(1)</script>\033[31m\n'
put wide.png wide.png
caption wide "nikkeanis$(i=0; while [ $i -lt 25 ]; do printf ', tag number %d' $i; i=$((i + 1)); done), 少女\n"
put rgb.png copy.png
put photo444.jpg wrong.png;      caption wrong 'nikkeanis\n'
put photo444.jpg two.jpg;        put grey.png two.png; caption two 'nikkeanis\n'
head -c 9000 "$pictures/rgb.png" >"$set/cut.png"
printf 'no image' >"$set/broken.png"
caption gone 'nikkeanis, nobody\n'
put rgb.png deeper/deep.png
put rgb.png a.Png
cp "$pictures/rgb.png" img/level.png
cp "$pictures/grey.png" img/plain/a.png
cp "$pictures/lossy.webp" "$pictures/wide.png" reg/1_girl/
