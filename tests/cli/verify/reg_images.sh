# A10 says that no other image lacks the tags: not where there are regularisation images, which with --dataset_config
# only ss_datasets tells.
. "$SOURCE/tests/support/lora.sh"
u=lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k
trained() {
    printf '"ss_dataset_dirs":"{\\"img\\": {\\"n_repeats\\": 1, \\"img_count\\": 4}}","ss_tag_frequency":"{\\"img\\": {\\"sks\\": 4, \\"cat\\": 4, \\"x\\": 1}, \\"reg\\": {\\"cat\\": 20}}","ss_datasets":"[{\\"subsets\\": [{\\"image_dir\\": \\"img\\", \\"is_reg\\": false}, {\\"image_dir\\": \\"reg\\", \\"is_reg\\": %s}]}]"' "$1"
}
# shellcheck disable=SC2046
for is_reg in false true; do
    make_tensors $is_reg.safetensors "$(trained $is_reg)" $(module $u 320 768 4)
    echo "is_reg $is_reg: $("$LX" verify $is_reg.safetensors | grep -c A10)"
done
