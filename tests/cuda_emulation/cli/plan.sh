# What a plan says that the GPU will hold is what it holds, and a limit below it is refused before anything
# is trained.
make=$(dirname "$LX")/../make_checkpoint
picture=$LX_GOLDENS/e2e/data/reg/1_1girl/reg00.png
[ -x "$make" ] && [ -e "$picture" ] || { echo "skip: no $make or no $picture" >&2; exit 77; }
"$make" tiny tiny.safetensors || exit 1
mkdir -p "img/8_iwl 1girl"
cp "$picture" "img/8_iwl 1girl/a.png"
echo "iwl, 1girl" >"img/8_iwl 1girl/a.txt"
flags="--pretrained_model_name_or_path tiny.safetensors --text_encoder_heads 4 --device cuda
    --train_data_dir img --resolution 64 --network_dim 4 --caption_extension .txt
    --optimizer_type AdamW8bit --max_train_steps 1"
number() { sed -n "s/.*\"$1\": *\([0-9]*\).*/\1/p" plan.json; }

# check NAME FLAG...
check() {
    name=$1
    shift
    "$LX" plan $flags "$@" --json >plan.json || exit 1
    LX_CUDA_EMULATION=launches=1 "$LX" train $flags "$@" --output_dir out --quiet >log 2>&1 ||
        { cat log; exit 1; }
    sed -n 's/^memory|//p' log | awk -v planned=$(($(number device_bytes) - $(number device_context_bytes))) \
        -v name="$name" '{ off = planned / $1 - 1
            print name ": " (off < 0.02 && off > -0.02 ? "as planned" : "planned " planned ", held " $1) }'
}
# Of the model's weights, as they are and packed.
weights() { echo $(($(number device_weight_bytes) + $(number device_packed_bytes))); }

for precision in no bf16 fp16; do
    check $precision --mixed_precision $precision --cache_latents
    eval "weights_$precision=$(weights)"
done
[ "$weights_bf16" = "$weights_fp16" ] && echo "each weight is there once in either type of 16 bits"
check "with the VAE there" --mixed_precision bf16 --max_data_loader_n_workers 0
"$LX" train $flags --cache_latents --output_dir out --quiet --max_memory 400MB 2>err
status=$?
sed 's/[0-9]\{6,\}/N/g' err >&2
exit $status
