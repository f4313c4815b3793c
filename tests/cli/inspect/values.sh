# Whole models, textual inversions and the values of a LoRA, as text and as JSON; columns that read all of a file.
. "$SOURCE/tests/support/lora.sh"
k=lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k
q=lora_te_text_model_encoder_layers_0_self_attn_q_proj
u=model.diffusion_model
# shellcheck disable=SC2046
make_tensors lora.safetensors "$(session_metadata 1 1 2 | sed 's/"ss_training_finished_at":"[0-9.]*",//'),\"modelspec.date\":\"2024-05-06T07:08:09\"" \
    $(module $k 320 768 4) $(module $q 768 768 8) 'bundle_emb.cat.string_to_param.*=F32[2,768]'
make_tensors model.safetensors '' "$u.input_blocks.0.0.weight=F16[320,4,3,3]" "$u.input_blocks.0.0.bias=F32[320]" \
    "$u.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight=F16[320,768]" \
    'cond_stage_model.transformer.text_model.embeddings.token_embedding.weight=F16[49408,8]' \
    'first_stage_model.encoder.conv_in.weight=F32[128,3,3,3]' 'model_ema.diffusion_modelinput_blocks00weight=F32[8]'
make_tensors emb.safetensors '' 'emb_params=F32[4,768]'
make_tensors xl.safetensors '' 'clip_l=F32[2,768]' 'clip_g=F32[2,1280]'
for file in model emb xl; do
    "$LX" inspect $file.safetensors
    "$LX" inspect $file.safetensors --json | tr -d '\n' | sed 's/  */ /g'
    echo
done
"$LX" inspect lora.safetensors --weights | sed -n '/untrained/p; /dead/p'
"$LX" inspect lora.safetensors --weights --tree --json | grep -E '"(name|norm|stable_rank|dead_ranks|shape)"' | sort -u
"$LX" inspect . --columns file,folder,sha256,tensors,date,te --sort file --csv | sed 's/[0-9a-f]\{64\}/HASH/; s/\r$//'
"$LX" inspect . --columns 'min(loss)' 2>&1; echo "= $?"
"$LX" inspect . --sort rnak; echo "= $?"
"$LX" inspect . --where 'date > 2024-01-01 and rank >= 8' --columns file,date --csv | tr -d '\r'
"$LX" inspect . --where 'rank_min < 8 or what = broken' --columns file --csv | tr -d '\r'
# What cannot be used is told, and no norm of what is not weighed.
p=lora_unet_mid_block_attentions_0_proj_in
make_tensors d_loha.safetensors '' "$p.hada_w1_a=F32[8,4]" "$p.hada_w1_b=F32[4,8]" "$p.hada_w2_a=F32[8,3]" "$p.hada_w2_b=F32[4,8]"
make_tensors d_products.safetensors '' "$p.hada_w1_a=F32[8,4]" "$p.hada_w1_b=F32[4,8]" "$p.hada_w2_a=F32[9,4]" "$p.hada_w2_b=F32[4,8]"
make_tensors d_lokr.safetensors '' "$p.lokr_w1=F32[2,2]"
make_tensors d_mid.safetensors '' "$p.lora_down.weight=F32[4,8,1,1]" "$p.lora_up.weight=F32[8,4,1,1]" "$p.lora_mid.weight=F32[4,5,3,3]"
make_tensors d_up.safetensors '' "$p.lora_down.weight=F32[4,8,1,1]" "$p.lora_up.weight=F32[8,4,3,3]"
make_tensors d_in.safetensors '' "$p.lora_down.weight=F32[4,0]" "$p.lora_up.weight=F32[8,4]"
make_tensors d_out.safetensors '' "$p.lora_down.weight=F32[4,8]" "$p.lora_up.weight=F32[0,4]"
for file in d_*.safetensors; do
    "$LX" inspect "$file" | grep damaged
    "$LX" verify "$file" | grep 'Q2 weights'
done
# A full difference of ones
make_tensors diff.safetensors '' "$p.diff=F32[1,2]"
size=$(($(wc -c <diff.safetensors) - 8))
head -c $size diff.safetensors >t && printf '\0\0\200\077\0\0\200\077' >>t && mv t diff.safetensors
"$LX" verify diff.safetensors | grep 'Q2 weights'
