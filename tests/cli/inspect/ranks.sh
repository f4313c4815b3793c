# Norms have neither rank nor alpha, and what lx made of other files is not what was trained.
. "$SOURCE/tests/support/lora.sh"
u=lora_unet_down_blocks_0_attentions_0
# shellcheck disable=SC2046
make_tensors norms.safetensors '"ss_v2":"False"' $u"_norm.w_norm=F32[320]" $u"_norm.b_norm=F32[320]" \
    $(module ${u}_transformer_blocks_0_attn2_to_k 320 768 4) lora_unet_mid_block_attentions_0_norm.w_norm=F32[1280] \
    lora_unet_mid_block_attentions_0_norm.b_norm=F32[1280]
"$LX" inspect norms.safetensors | grep '^  UNet'
"$LX" inspect norms.safetensors --json | grep -e rank_ -e alpha_
"$LX" inspect . --columns name,rank,rank_min,alpha
lora=$LX_GOLDENS/lora/files/mini_a_r4_a4_fp32.safetensors
[ -e "$lora" ] || { echo "skip: no $lora" >&2; exit 77; }
"$LX" resize "$lora" --rank 2 -o resized.safetensors >/dev/null
"$LX" merge "$lora" -o merged.safetensors >/dev/null
"$LX" convert "$lora" --to diffusers -o converted.safetensors >/dev/null
for file in "$lora" resized.safetensors merged.safetensors converted.safetensors; do
    "$LX" inspect "$file" | grep '^  integrity'
done
