# A run comes out the same again, to the byte; inputs that have changed are named and stop it.
make=$(dirname "$LX")/tests/make_checkpoint
picture=$LX_GOLDENS/e2e/data/reg/1_1girl/reg00.png
[ -x "$make" ] && [ -e "$picture" ] || { echo "skip: no $make or no $picture" >&2; exit 77; }
"$make" tiny tiny.safetensors || exit 1
mkdir -p "img/2_iwl 1girl"
for name in a b; do
    cp "$picture" "img/2_iwl 1girl/$name.png"
    echo "iwl, 1girl, smile" >"img/2_iwl 1girl/$name.txt"
done
names() { sed 's/sha256 [0-9a-f]*/sha256 SUM/; s/run [0-9a-f]*/run ID/; s/reproduce-[0-9a-f]*/reproduce-ID/'; }
"$LX" train --pretrained_model_name_or_path tiny.safetensors --text_encoder_heads 4 \
    --train_data_dir img --resolution 64 --network_dim 4 --learning_rate 1e-3 \
    --caption_extension .txt --shuffle_caption --cache_latents --max_train_steps 3 --threads 1 \
    --output_dir out --output_name a --quiet >/dev/null 2>&1 || exit 1
id=$("$LX" runs --columns id | sed -n 2p)
cd / # the run knows where it was started
"$LX" reproduce "$id" --quiet 2>/dev/null >"$HOME/told"
echo $?
names <"$HOME/told"
"$LX" reproduce "$id" --quiet --json 2>/dev/null | names | sed 's/: "[0-9a-f]\{16\}"/: "ID"/'
cd "$OLDPWD" || exit 1
echo "iwl, 1girl, frown" >"img/2_iwl 1girl/a.txt"
rm "img/2_iwl 1girl/b.png" "img/2_iwl 1girl/b.txt"
"$LX" reproduce "$id" 2>error >told
echo $?
names <told
grep reproduce error
"$LX" reproduce "$id" --anyway -o other --quiet 2>/dev/null >told
echo $?
names <told | sed 's/difference [0-9.e-]*, [0-9.e-]* of/difference X, Y of/'
mv tiny.safetensors away
"$LX" reproduce "$id" --check 2>/dev/null
echo $?
"$LX" reproduce nothing
echo $?
