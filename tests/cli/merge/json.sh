# --json of a merge, with every module when --verbose asks for it, of one into a model, and what merge_lora.py has not.
. "$SOURCE/tests/support/lora.sh"
k=lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k
w=model.diffusion_model.middle_block.1.transformer_blocks.0.attn2.to_k.weight
# shellcheck disable=SC2046
{
    make_tensors a.safetensors '"ss_network_dim":"2"' $(module $k 64 768 2 F32)
    make_tensors b.safetensors '"ss_network_dim":"4"' $(module $k 64 768 4 F32)
}
make_tensors base.safetensors '' "$w=F16[64,768]"
for rank in 2 4; do # without an alpha: merge_lora.py divides by it
    make_tensors rank_$rank.safetensors '' "$k.lora_down.weight=F32[$rank,768]" "$k.lora_up.weight=F32[64,$rank]"
done
merge() { "$LX" merge "$@" --no_record; echo "= $?"; }
merge a.safetensors:0.5 b.safetensors --rank exact -o out.safetensors --json --verbose
merge a.safetensors b.safetensors:0.5 --rank 3 -o out.safetensors --json
merge a.safetensors --into base.safetensors -o baked.safetensors --json
merge rank_2.safetensors rank_2.safetensors:-1 --like sd-scripts --precision fp16 -o out.safetensors --json
merge rank_2.safetensors rank_4.safetensors --like sd-scripts --concat --shuffle --seed 3 -o out.safetensors --json
merge a.safetensors:1:te=0.5 --like sd-scripts -o out.safetensors
merge a.safetensors:1:lbw=OUTALL --like sd-scripts -o out.safetensors
merge a.safetensors --precision bf16 -o out.safetensors --json
merge a.safetensors --like sd-scripts --precision bf16 -o out.safetensors
