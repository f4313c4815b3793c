# A training whose optimizer is the device's: the same bytes whether streams run at once or late and in
# any order; a state goes on to the bytes of the whole; the host waits for nothing but the numbers of the
# step before.
make=$(dirname "$LX")/../make_checkpoint
picture=$LX_GOLDENS/e2e/data/reg/1_1girl/reg00.png
[ -x "$make" ] && [ -e "$picture" ] || { echo "skip: no $make or no $picture" >&2; exit 77; }
"$make" tiny tiny.safetensors || exit 1
mkdir -p "img/8_iwl 1girl"
cp "$picture" "img/8_iwl 1girl/a.png"
echo "iwl, 1girl" >"img/8_iwl 1girl/a.txt"

# train NAME FLAG... - its log is NAME.log
train() {
    name=$1
    shift
    "$LX" train --pretrained_model_name_or_path tiny.safetensors --text_encoder_heads 4 --device cuda \
        --train_data_dir img --resolution 64 --network_dim 4 --learning_rate 1e-3 --seed 42 --threads 1 \
        --caption_extension .txt --cache_latents --optimizer_type AdamW8bit --output_dir "$name" \
        --output_name a --quiet "$@" >"$name.log" 2>&1 || { cat "$name.log"; exit 1; }
}
# The tensors of a state: what follows its header.
tensors() {
    tail -c +$(($(od -An -tu8 -N8 "$1") + 9)) "$1"
}
same() {
    tensors "$1/a-state/state.safetensors" >one
    tensors "$2/a-state/state.safetensors" >two
    [ -s one ] && cmp one two || { echo "$1 and $2 differ"; exit 1; }
}
waits() {
    awk -F'|' -v what="host waits: $2" '$1 == "launch" && $2 == what { print $3 }' "$1.log"
}

export LX_CUDA_EMULATION=launches=1
train whole --max_train_steps 4 --save_state --save_every_n_steps 2
train given --max_train_steps 4 --save_state --save_every_n_steps 2 \
    --resume whole/a-step00000002-state
same whole given
LX_CUDA_EMULATION=lazy=1,order=2,seed=5 train late --max_train_steps 4 --save_state
same whole late

train five --max_train_steps 5
train seven --max_train_steps 7
echo "two steps more: $(($(waits seven stream) - $(waits five stream))) waits for the stream," \
    "$(($(waits seven event) - $(waits five event))) for numbers of the step before"

LX_CUDA_EMULATION=sm=75 "$LX" train --pretrained_model_name_or_path tiny.safetensors --text_encoder_heads 4 \
    --device cuda --train_data_dir img --resolution 64 --caption_extension .txt --mixed_precision bf16 \
    --max_train_steps 1 --output_dir old --quiet 2>&1 >/dev/null | grep -o 'mixed_precision bf16: cuda (.*'
