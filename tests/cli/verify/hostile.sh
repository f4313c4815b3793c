# Files that must be refused are refused by name; none crashes, and what they say is never markup.
for file in "$SOURCE"/tests/badfiles/st_* "$SOURCE"/tests/badfiles/ckpt_*; do
    timeout 60 "$LX" verify "$file" >words 2>err
    case $? in
    0 | 1[0-4] | 2 | 6[5-9] | 7[0-8]) ;;
    *) echo "$? $file"; cat err ;;
    esac
    ! grep -q "$(printf '\033')" words err || echo "escape sequence: $file"
done
# Names and metadata of a hostile file on the page.
for name in st_name_html st_meta_ansi st_name_bidi; do
    "$LX" verify --html page.html "$SOURCE/tests/badfiles/$name.safetensors" >/dev/null 2>&1
    [ ! -e page.html ] || ! grep -qi '<script>alert\|onerror=' page.html || echo "markup: $name"
    rm -f page.html
done
# A folder's name and captions become tags of the page.
make=$(dirname "$LX")/tests/make_checkpoint
picture=$LX_GOLDENS/e2e/data/reg/1_1girl/reg00.png
[ -x "$make" ] && [ -e "$picture" ] || { echo "skip: no $make or no $picture" >&2; exit 77; }
"$make" nano nano.safetensors || exit 1
mkdir -p 'img/1_<b>x'
cp "$picture" 'img/1_<b>x/a.png'
printf '<script>alert(1)</script>, "&\047 <img src=x onerror=y>' >'img/1_<b>x/a.txt'
"$LX" train --pretrained_model_name_or_path nano.safetensors --text_encoder_heads 2 \
    --train_data_dir img --caption_extension .txt --resolution 64 --network_dim 2 \
    --threads 1 --learning_rate 1e-3 --max_train_steps 1 --seed 1 --output_dir out \
    --output_name '<i>lora' >/dev/null 2>err || { cat err; exit 1; }
"$LX" verify --base nano.safetensors --text_encoder_heads 2 --data img --draws 4 --threads 1 --html page.html \
    'out/<i>lora.safetensors' >/dev/null 2>err
case $? in 0 | 1[0-4]) ;; *) cat err; exit 1 ;; esac
[ -s page.html ] && ! grep '<script>alert\|<img\|<i>lora\|<b>x' page.html
