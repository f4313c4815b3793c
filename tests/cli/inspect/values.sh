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
