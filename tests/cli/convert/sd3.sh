# A LoRA of SD 3 as sd-scripts' networks.lora_sd3 names it: the fused qkv, what makes shift and scale behind the last
# block, three text encoders. To every spelling and back to the same bytes; nothing is left out in silence.
. "$SOURCE/tests/support/lora.sh"
w=1536
j=lora_unet_joint_blocks
tensors=$(
    {
        for block in 0 23; do
            echo "${j}_${block}_x_block_attn_qkv $((3 * w)) $w"
            echo "${j}_${block}_context_block_attn_qkv $((3 * w)) $w"
            echo "${j}_${block}_x_block_attn_proj $w $w"
            echo "${j}_${block}_x_block_mlp_fc1 $((4 * w)) $w"
            echo "${j}_${block}_x_block_mlp_fc2 $w $((4 * w))"
            echo "${j}_${block}_x_block_adaLN_modulation_1 $((6 * w)) $w"
        done
        cat <<END
${j}_0_context_block_attn_proj $w $w
${j}_0_context_block_adaLN_modulation_1 $((6 * w)) $w
${j}_23_context_block_adaLN_modulation_1 $((2 * w)) $w
lora_unet_final_layer_adaLN_modulation_1 $((2 * w)) $w
lora_unet_context_embedder $w 4096
lora_te1_text_model_encoder_layers_0_self_attn_q_proj 768 768
lora_te2_text_model_encoder_layers_31_mlp_fc1 5120 1280
lora_te3_encoder_block_0_layer_0_SelfAttention_q 4096 4096
lora_te3_encoder_block_23_layer_1_DenseReluDense_wi_0 10240 4096
END
    } | while read -r name out in; do module "$name" "$out" "$in" 2 && echo; done
)
# shellcheck disable=SC2086
make_tensors zero.safetensors '' $tensors
# The values are no zeros, so that rows can be told apart.
n=$(od -An -tu4 -N4 zero.safetensors | tr -d ' ')
{
    head -c $((8 + n)) zero.safetensors
    awk -v n=$((($(wc -c <zero.safetensors) - 8 - n) / 2)) 'BEGIN {
        x = 7
        for (i = 0; i < n; i++) { x = (x * 16807) % 2147483647; printf "%c%c", 65 + x % 26, 56 }
    }'
} >sd3.safetensors
"$LX" inspect sd3.safetensors | sed -n 2p
"$LX" convert sd3.safetensors --to kohya -o kohya.safetensors --no_record
for to in diffusers comfyui peft; do
    out=$to.safetensors
    [ $to != peft ] || out=peft
    "$LX" convert sd3.safetensors --to $to -o $out --no_record --verbose | sed 's/ <- .*//' >said
    grep -E '^=|places|apart|T5|(qkv|to_k|norm1_context.*|context_block.ada.*|final_layer.*|norm_out.*)\.lora_B' said
    grep -E '(SelfAttention.q|layers.31.mlp.fc1).*(lora_A|down)' said
    "$LX" convert $out --to kohya -o back.safetensors --no_record | grep -E 'places|together'
    tail -c 560000 kohya.safetensors >wanted
    tail -c 560000 back.safetensors | cmp - wanted && echo "$to and back: the same bytes"
done
ls peft
# diffusers and PEFT agree on the order: nothing changes places between them
"$LX" convert diffusers.safetensors --to peft -o peft2 --no_record | grep -c places
# other kinds of such a layer are refused by name
l=lora_unet_final_layer_adaLN_modulation_1
make_tensors loha.safetensors '' "lora_unet_joint_blocks_0_x_block_attn_proj.diff=F16[1536,1536]" \
    "lycoris_norm_out_linear.hada_w1_a=F32[3072,2]" "lycoris_norm_out_linear.hada_w1_b=F32[2,1536]" \
    "lycoris_norm_out_linear.hada_w2_a=F32[3072,2]" "lycoris_norm_out_linear.hada_w2_b=F32[2,1536]"
"$LX" convert loha.safetensors --to kohya -o out.safetensors --no_record
echo "exit $?"
