# All about one file: the verdict with its proof, tags by folder, hashes, modules, weights; JSON of it.
. "$SOURCE/tests/support/lora.sh"
u=lora_unet_down_blocks_0_attentions_0_transformer_blocks_0
te=lora_te_text_model_encoder_layers_0_self_attn_q_proj
# shellcheck disable=SC2046
make_tensors a.safetensors "$(session_metadata 1 1 2)" $(module ${u}_attn2_to_k 320 768 8) $(module ${u}_attn1_to_q 320 320 4) $(module $te 768 768 8) 'unheard.of=F16[2]'
"$LX" inspect a.safetensors --hashes --tags 3 --tree
"$LX" inspect --json a.safetensors --tree --hashes | sed -n '1,60p'
