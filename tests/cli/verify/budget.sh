# A budget is never exceeded: not by constant tags, which are tried alone, nor by tags asked for by number.
make=$(dirname "$LX")/tests/make_checkpoint
pictures=$LX_GOLDENS/e2e/data/reg/1_1girl
[ -x "$make" ] && [ -e "$pictures/reg05.png" ] || { echo "skip: no $make or no $pictures" >&2; exit 77; }
"$make" nano nano.safetensors || exit 1
folder="img/1_iwl 1girl"
mkdir -p "$folder"
for i in 0 1 2 3 4 5; do
    cp "$pictures/reg0$i.png" "$folder/$i.png"
    echo "iwl, solo, smile, hat, own$i" >"$folder/$i.txt"
done
"$LX" train --pretrained_model_name_or_path nano.safetensors --text_encoder_heads 2 --train_data_dir img \
    --resolution 64 --network_dim 2 --max_train_steps 8 --seed 1 --threads 1 --output_dir out --output_name four \
    --network_module networks.lora --caption_extension .txt --learning_rate 2e-3 >log 2>&1 || { cat log; exit 1; }
# the largest of that name: the whole's
number() {
    sed -n "s/^ *\"$1\": \([0-9]*\),*\$/\1/p" out.json | sort -n | tail -1
}
# BUDGET [OPTION...]: 0 = none is given
judge() {
    budget=$1
    shift
    [ "$budget" = 0 ] || set -- --budget "$budget" "$@"
    "$LX" verify --base nano.safetensors --text_encoder_heads 2 --data img --threads 1 --json "$@" \
        out/four.safetensors >out.json 2>err
    status=$?
    case $status in 0 | 1[0-4]) ;; *) sed 's/^/  /' err; return ;; esac
    planned=$(number forwards_planned)
    spent=$(number forwards)
    [ "$spent" -le "$planned" ] || echo "planned $planned, spent $spent"
    [ "$budget" = 0 ] || [ "$planned" -le "$budget" ] || echo "a budget of $budget, planned $planned"
    echo "$budget $*: $spent of $planned, $(grep -c '"alone": [-0-9]' out.json) alone"
}
judge 0 --draws 2
judge 400 --draws 2
judge 700 --draws 2
judge 1000
judge 1000 --draws 2 --tags 3
judge 300 --draws 2 --tags 10
