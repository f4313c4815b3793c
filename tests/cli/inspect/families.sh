# Every family and spelling: what it is, for which model, and nothing of it left untold.
. "$SOURCE/tests/support/lora.sh"
u=lora_unet_down_blocks_0_attentions_0_transformer_blocks_0
d=down_blocks.0.attentions.0.transformer_blocks.0
w() { printf '%s=F16[%s] ' "$1" "$2"; } # a tensor
ab() { w "$1.lora_A.weight" "$4,$3"; w "$1.lora_B.weight" "$2,$4"; }
# shellcheck disable=SC2046
{
    make_tensors kohya_sd1.safetensors '' $(module ${u}_attn2_to_k 320 768 4) $(module lora_te_text_model_encoder_layers_0_mlp_fc1 3072 768 4)
    make_tensors kohya_sd2.safetensors '"ss_v2":"True"' $(module ${u}_attn2_to_k 320 1024 4)
    make_tensors kohya_sdxl.safetensors '"ss_base_model_version":"sd_v1"' \
        $(module lora_unet_input_blocks_4_1_transformer_blocks_1_attn2_to_v 640 2048 4) $(module lora_te2_text_model_encoder_layers_0_mlp_fc1 5120 1280 4)
    make_tensors kohya_inpainting.safetensors '' $(module ${u}_attn2_to_k 320 768 4) \
        $(w lora_unet_conv_in.lora_down.weight 4,9,3,3) $(w lora_unet_conv_in.lora_up.weight 320,4,1,1)
    make_tensors kohya_flux.safetensors '' $(module lora_unet_double_blocks_0_img_attn_qkv 9216 3072 4) \
        $(module lora_unet_double_blocks_0_img_mlp_0 12288 3072 4) $(module lora_te1_text_model_encoder_layers_0_mlp_fc1 3072 768 4)
    make_tensors kohya_flux2.safetensors '' $(module lora_unet_double_blocks_0_img_attn_qkv 18432 6144 4)
    make_tensors kohya_sd3.safetensors '' $(module lora_unet_joint_blocks_0_x_block_attn_qkv 4608 1536 4)
    make_tensors kohya_hunyuan.safetensors '' $(module lora_unet_double_blocks_0_img_attn_qkv 9216 3072 4) $(module lora_unet_double_blocks_0_img_mlp_fc1 12288 3072 4)
    make_tensors musubi_wan.safetensors '"ss_network_module":"networks.lora_wan"' $(module lora_unet_blocks_0_self_attn_q 5120 5120 4) $(module lora_unet_blocks_0_cross_attn_k_img 5120 5120 4)
    make_tensors locon.safetensors '' $(w ${u}_attn1_to_k.lora_down.weight 4,320) $(w ${u}_attn1_to_k.lora_up.weight 320,4) \
        $(w lora_unet_down_blocks_0_resnets_0_conv1.lora_down.weight 2,320,3,3) $(w lora_unet_down_blocks_0_resnets_0_conv1.lora_up.weight 320,2,1,1)
    make_tensors tucker.safetensors '' $(w ${u}_attn1_to_k.lora_down.weight 4,320,1,1) $(w ${u}_attn1_to_k.lora_mid.weight 4,4,3,3) $(w ${u}_attn1_to_k.lora_up.weight 320,4,1,1)
    make_tensors loha.safetensors '"ss_network_module":"lycoris.kohya"' $(w ${u}_attn2_to_k.hada_w1_a 320,4) $(w ${u}_attn2_to_k.hada_w1_b 4,768) \
        $(w ${u}_attn2_to_k.hada_w2_a 320,4) $(w ${u}_attn2_to_k.hada_w2_b 4,768) $(w ${u}_attn2_to_k.alpha '')
    make_tensors lokr.safetensors '' $(w ${u}_attn2_to_k.lokr_w1 16,16) $(w ${u}_attn2_to_k.lokr_w2_a 20,4) $(w ${u}_attn2_to_k.lokr_w2_b 4,48)
    make_tensors full.safetensors '' $(w ${u}_attn2_to_k.diff 320,768) $(w ${u}_norm1.w_norm 320) $(w ${u}_norm1.b_norm 320)
    make_tensors dora.safetensors '' $(module ${u}_attn2_to_k 320 768 4) $(w ${u}_attn2_to_k.dora_scale 1,768)
    make_tensors glora.safetensors '' $(w ${u}_attn2_to_k.a1.weight 768,4) $(w ${u}_attn2_to_k.a2.weight 4,768) \
        $(w ${u}_attn2_to_k.b1.weight 320,4) $(w ${u}_attn2_to_k.b2.weight 4,768)
    make_tensors ia3.safetensors '' $(w ${u}_attn2_to_k.weight 320) "${u}_attn2_to_k.on_input=U8[]"
    make_tensors oft.safetensors '' $(w ${u}_attn2_to_k.oft_blocks 4,80,80) $(w ${u}_attn2_to_k.alpha '')
    make_tensors boft.safetensors '' $(w ${u}_attn2_to_k.oft_blocks 2,4,80,80)
    make_tensors oft_v2.safetensors '' $(w ${u}_attn2_to_k.oft_R.weight 4,3160)
    make_tensors diffusers_old.safetensors '"format":"pt"' $(w "$d.attn2.processor.to_k_lora.down.weight" 4,768) $(w "$d.attn2.processor.to_k_lora.up.weight" 320,4)
    make_tensors diffusers.safetensors '"format":"pt"' $(w "unet.$d.attn2.to_k.lora.down.weight" 4,768) $(w "unet.$d.attn2.to_k.lora.up.weight" 320,4) \
        $(w text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_linear_layer.down.weight 4,768) \
        $(w text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_linear_layer.up.weight 768,4)
    make_tensors diffusers_new.safetensors '"lora_adapter_metadata":"{\"unet.r\":4,\"unet.lora_alpha\":2,\"unet.alpha_pattern\":{}}"' $(ab "unet.$d.attn2.to_k" 320 768 4)
    make_tensors adapter_model.safetensors '' $(ab "base_model.model.$d.attn2.to_k" 320 768 4)
    echo '{"peft_type":"LORA","r":4,"lora_alpha":32,"use_rslora":true,"alpha_pattern":{}}' >adapter_config.json
    make_tensors qwen.safetensors '' $(ab transformer.transformer_blocks.0.attn.add_k_proj 3072 3072 4) $(ab transformer.transformer_blocks.0.img_mlp.net.0.proj 12288 3072 4)
    t=transformer.transformer_blocks
    make_tensors flux_or_hunyuan.safetensors '' $(ab $t.0.attn.to_q 3072 3072 4) $(ab transformer.single_transformer_blocks.1.proj_out 3072 15360 4)
    make_tensors flux_or_hunyuan_said.safetensors '"modelspec.architecture":"hunyuan-video/lora"' $(ab $t.0.attn.to_q 3072 3072 4) $(ab transformer.single_transformer_blocks.1.proj_out 3072 15360 4)
    make_tensors flux_hunyuan_or_qwen.safetensors '' $(ab $t.0.attn.to_q 3072 3072 4)
    make_tensors flux_last_block.safetensors '' $(ab $t.18.attn.to_q 3072 3072 4) $(ab $t.18.ff_context.net.2 3072 12288 4)
    make_tensors hunyuan_last_block.safetensors '' $(ab $t.0.attn.to_q 3072 3072 4) $(ab transformer.single_transformer_blocks.39.attn.to_q 3072 3072 4)
    make_tensors hunyuan_refiner.safetensors '' $(ab $t.0.attn.to_q 3072 3072 4) $(ab transformer.context_embedder.token_refiner.refiner_blocks.0.attn.to_q 3072 3072 4)
    make_tensors ai_toolkit.safetensors '"software":"{\"name\":\"ai-toolkit\"}","ss_tag_frequency":"{\"1_x\":{\"x\":1}}"' $(ab diffusion_model.layers.0.attention.to_q 3840 3840 4)
    make_tensors onetrainer.safetensors '"ot_branch":"master"' $(module lora_transformer_single_transformer_blocks_0_attn_to_k 3072 3072 4) $(w bundle_emb.cat.clip_l 1,768)
    make_tensors simpletuner.safetensors '"lycoris_config":"{}"' $(w lycoris_single_transformer_blocks_0_attn_to_q.lokr_w1 16,16) $(w lycoris_single_transformer_blocks_0_attn_to_q.lokr_w2 192,192)
    make_tensors xlabs.safetensors '' $(w double_blocks.0.processor.qkv_lora1.down.weight 4,3072) $(w double_blocks.0.processor.qkv_lora1.up.weight 9216,4)
    make_tensors bfl_control.safetensors '' $(ab double_blocks.0.img_attn.qkv 9216 3072 4) $(w double_blocks.0.img_attn.qkv.lora_B.bias 9216) $(w double_blocks.0.img_attn.norm.query_norm.scale 128)
    make_tensors cloneofsimo.safetensors '' $(w unet:0:up 320,4) $(w unet:0:down 4,768) $(w text_encoder:0:up 768,4) $(w text_encoder:0:down 4,768) $(w '<s1>' 768)
    make_tensors broken_names.safetensors '' $(w "lora_unet_${u#lora_}_attn2_to_k_lora_down.weight" 4,768) $(w "lora_unet_${u#lora_}_attn2_to_k_lora_up.weight" 320,4)
    make_tensors embedding.safetensors '' $(w emb_params 4,1024)
    make_tensors embedding_sdxl.safetensors '' $(w clip_l 4,768) $(w clip_g 4,1280)
    make_tensors damaged.safetensors '' $(w ${u}_attn2_to_k.lora_down.weight 8,768) $(w ${u}_attn2_to_k.lora_up.weight 320,4)
    make_tensors no_lora.safetensors '' $(w something.else 3)
    make_tensors checkpoint.safetensors '' $(w model.diffusion_model.input_blocks.0.0.weight 320,4,3,3) \
        $(w model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight 320,768) $(w first_stage_model.decoder.conv_in.weight 512,4,3,3)
}
cp "$SOURCE/tests/fuzz/corpus/ckpt/list_of_pairs.pt" "$SOURCE/tests/fuzz/corpus/ckpt/embedding.pt" .
"$LX" inspect . --columns file,what,base,family,trainer,rank,alpha,modules,unknown,problem
