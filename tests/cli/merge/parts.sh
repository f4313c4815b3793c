# What a layer has in one file and not in another, or twice in the same one.
. "$SOURCE/tests/support/lora.sh"
q=lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q
k=lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_k
try() {
    "$LX" merge "$@" -o out.safetensors --no_record
    echo "exit $?"
}
keys() {
    head -c 4096 out.safetensors | grep -ao "\"[a-z][A-Za-z0-9_.]*\":{\"dtype\":\"[A-Z0-9]*\",\"shape\":\[[0-9,]*\]" | sort
}
# Only a bias: it has no rank, and no part in the factors.
# shellcheck disable=SC2046
{
    make_tensors lora.safetensors '' $(module $q 8 6 2)
    make_tensors bias.safetensors '' "$q.diff_b=F16[8]" $(module $k 8 6 2)
    make_tensors other.safetensors '' $(module $q 8 6 3)
}
for order in 'lora bias' 'bias lora'; do
    # shellcheck disable=SC2086
    set -- $order
    try "$1.safetensors:0.5" "$2.safetensors" --rank exact
    keys
    try "$1.safetensors:0.5" "$2.safetensors"
    try "$1.safetensors:0.5" "$2.safetensors" --method ties
    try "$1.safetensors" "$2.safetensors" other.safetensors
done

# One layer under two names would count twice, also in a checkpoint.
t=text_model_encoder_layers_0_self_attn_q_proj
# shellcheck disable=SC2046
make_tensors twice.safetensors '' $(module lora_te_$t 8 8 2) $(module lora_te1_$t 8 8 2)
make_tensors base.safetensors '' 'cond_stage_model.transformer.text_model.encoder.layers.0.self_attn.q_proj.weight=F16[8,8]'
rm -f out.safetensors
try twice.safetensors
try twice.safetensors --into base.safetensors
"$LX" convert twice.safetensors --drop 'lora_te1_*' -o once.safetensors --no_record | grep =
try once.safetensors --into base.safetensors

# A bias behind up keeps that name where no alpha would scale it; with another kind beside it it is a plain difference.
d=transformer.transformer_blocks.0.attn.to_q
factors="$d.lora_A.weight=F16[2,8] $d.lora_B.weight=F16[8,2]"
# shellcheck disable=SC2086
{
    make_tensors behind.safetensors '' $factors "$d.lora_B.bias=F16[8]"
    make_tensors both.safetensors '' $factors "$d.lora_B.bias=F16[8]" "$d.diff_b=F16[8]"
    make_tensors none.safetensors '' $factors
}
for files in behind 'none behind' both 'behind both'; do
    echo "$files"
    # shellcheck disable=SC2046
    try $(printf '%s.safetensors ' $files) | grep exit
    keys
done
"$LX" resize behind.safetensors --rank 1 -o out.safetensors --no_record | grep =
keys
