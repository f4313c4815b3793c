# What cannot be said in a spelling is refused with the key named, and nothing is written.
. "$SOURCE/tests/support/lora.sh"
p=lora_unet_mid_block_attentions_0_proj_in
make_tensors a.safetensors '"ss_network_dim":"2"' "$p.lora_down.weight=F32[2,8]" "$p.lora_up.weight=F32[8,2]"
make_tensors odd.safetensors '' "$p.lora_down.weight=F32[2,8]" "$p.lora_up.weight=F32[8,2]" 'something.else=F32[4]'
make_tensors twice.safetensors '' "$p.lora_down.weight=F32[2,8]" "$p.lora_up.weight=F32[8,2]" \
    'unet.mid_block.attentions.0.proj_in.lora_A.weight=F32[2,8]' \
    'unet.mid_block.attentions.0.proj_in.lora_B.weight=F32[8,2]'
make_tensors loha.safetensors '' "$p.hada_w1_a=F32[8,2]" "$p.hada_w1_b=F32[2,8]" "$p.hada_w2_a=F32[8,2]" \
    "$p.hada_w2_b=F32[2,8]"
make_tensors half.safetensors '' "$p.lora_down.weight=F32[2,8]"
make_tensors strange.safetensors '' 'lora_unet_quux.lora_down.weight=F32[2,8]' 'lora_unet_quux.lora_up.weight=F32[8,2]'
t=transformer.transformer_blocks.0
make_tensors few.safetensors '' "$t.ff_context.net.2.lora_A.weight=F16[1,12288]" "$t.ff_context.net.2.lora_B.weight=F16[3072,1]" \
    "$t.attn.to_q.lora_A.weight=F16[1,3072]" "$t.attn.to_q.lora_B.weight=F16[3072,1]"
mkdir empty
for name in lora_alpha_nan lora_rank_mismatch ok_minimal trunc_data; do
    cp "$SOURCE/tests/badfiles/st_$name.safetensors" .
done
cp "$SOURCE/tests/badfiles/ckpt_posix_system_zip.ckpt" .
try() {
    "$LX" convert "$@"
    echo "exit $?" >&2
}
try
try a.safetensors
try a.safetensors --to kohya
try a.safetensors -o out.safetensors
try a.safetensors odd.safetensors --to kohya -o out.safetensors
try a.safetensors --to webui -o out.safetensors
try a.safetensors --precision f4 -o out.safetensors
try a.safetensors --to kohya -o out.pt
try a.safetensors --to peft -o out.safetensors
try a.safetensors --to kohya -o a.safetensors
try a.safetensors --to diffusers-old -o out.safetensors
try a.safetensors --to kohya --drop '*.nothing' -o out.safetensors
try a.safetensors --to kohya --drop '*up*' -o out.safetensors
try odd.safetensors --to kohya -o out.safetensors
try twice.safetensors --to kohya -o out.safetensors
try loha.safetensors --to diffusers -o out.safetensors
try loha.safetensors --to peft -o out
try half.safetensors --to kohya -o out.safetensors
try strange.safetensors --to diffusers -o out.safetensors
for way in '--to comfyui' '--to kohya --base flux1' '--to kohya'; do
    # shellcheck disable=SC2086
    try few.safetensors $way -o out.safetensors
done
try none.safetensors --to kohya -o out.safetensors
try empty --to kohya -o out.safetensors
try st_lora_alpha_nan.safetensors --to kohya -o out.safetensors
try st_lora_rank_mismatch.safetensors --to kohya -o out.safetensors
try st_ok_minimal.safetensors --to kohya -o out.safetensors
try st_trunc_data.safetensors --to kohya -o out.safetensors
try ckpt_posix_system_zip.ckpt --to kohya -o out.safetensors
make_tensors misfit.safetensors '' "$p.hada_w1_a=F32[8,4]" "$p.hada_w1_b=F32[4,8]" "$p.hada_w2_a=F32[8,3]" \
    "$p.hada_w2_b=F32[4,8]"
make_tensors one.safetensors '' "$p.lokr_w1=F32[2,2]"
try misfit.safetensors --to kohya -o out.safetensors
try one.safetensors --to comfyui -o out.safetensors
# PEFT's alphas are in a config that a copy of the keys would not have beside it.
mkdir peft
q=base_model.model.mid_block.attentions.0.proj_in
make_tensors peft/adapter_model.safetensors '' "$q.lora_A.weight=F32[2,8]" "$q.lora_B.weight=F32[8,2]"
echo '{"r": 2, "lora_alpha": 8}' >peft/adapter_config.json
try peft/adapter_model.safetensors --precision f16 -o out.safetensors
try peft --precision f16 -o out.safetensors
[ ! -e out ] && [ ! -e out.safetensors ] && [ ! -e "$LX_STORE" ] && echo "nothing was written"
echo '{"r": 2, "lora_alpha": 2}' >peft/adapter_config.json
"$LX" convert peft --precision f16 -o same.safetensors --no_record | grep =
"$LX" convert odd.safetensors --to kohya --drop 'something.*' -o out.safetensors --no_record
for base in flux hunyuan-video; do
    "$LX" convert few.safetensors --to kohya --base $base -o few_$base.safetensors --no_record >/dev/null &&
        grep -a -o 'lora_unet_[a-z0-9_]*.lora_up' few_$base.safetensors
done
# A name that no model has; one of sd-scripts' OFT, whose layers are the UNet's.
make_tensors unknown.safetensors '' 'foo_bar.lora_down.weight=F32[2,8]' 'foo_bar.lora_up.weight=F32[4,2]'
for to in kohya diffusers comfyui; do "$LX" convert unknown.safetensors --to $to -o out.safetensors; done
k=oft_unet_mid_block_attentions_0_proj_in
make_tensors oft.safetensors '' "$k.oft_blocks=F32[2,4,4]" "$k.alpha=F32[]"
"$LX" convert oft.safetensors --to comfyui -o oft-comfy.safetensors
grep -ao '"diffusion_model[^"]*"' oft-comfy.safetensors
