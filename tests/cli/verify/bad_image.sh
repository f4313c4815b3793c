# An image that is cut, leads nowhere or is a folder is named, and no flag is advised that lx verify does not have.
. "$SOURCE/tests/support/tiny.sh"
. "$SOURCE/tests/support/lora.sh"
# shellcheck disable=SC2046
make_tensors a.safetensors '' $(module lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q 32 32 2 F32)
set="img/3_iwl 1girl"
try() {
    "$LX" verify a.safetensors --base tiny.safetensors --text_encoder_heads 4 --data img --resolution 64 --threads 1 >/dev/null
    echo "exit $?"
    rm -rf "$set/c.png"
}
head -c 300 "$set/a.png" >"$set/c.png"
try
ln -s nowhere.png "$set/c.png"
try
mkdir "$set/c.png"
try
