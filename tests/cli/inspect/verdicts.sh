# The rules beyond folder words: dropped always, dropped often, empty, a metadata file, made-up counts.
. "$SOURCE/tests/support/lora.sh"
u=lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k
tags='"ss_dataset_dirs":"{\"10_a b\": {\"n_repeats\": 10, \"img_count\": 4}}","ss_tag_frequency":"{\"10_a b\": {\"red hair\": 3}}"'
empty='"ss_dataset_dirs":"{\"10_a b\": {\"n_repeats\": 10, \"img_count\": 4}}","ss_tag_frequency":"{\"10_a b\": {}}"'
part='"ss_dataset_dirs":"{\"10_a b\": {\"n_repeats\": 10, \"img_count\": 4}}","ss_tag_frequency":"{\"10_a b\": {\"a b\": 1, \"red hair\": 3}}"'
two='"ss_dataset_dirs":"{\"10_a b\": {\"n_repeats\": 10, \"img_count\": 4}, \"1_x\": {\"n_repeats\": 1, \"img_count\": 2}}","ss_tag_frequency":"{\"10_a b\": {\"a b\": 4}, \"1_x\": {\"red hair\": 2}}"'
# shellcheck disable=SC2046
{
    make_tensors a_read.safetensors "$tags" $(module $u 320 768 4)
    make_tensors b_often.safetensors "$tags,\"ss_caption_dropout_rate\":\"0.5\"" $(module $u 320 768 4)
    make_tensors c_always.safetensors "$tags,\"ss_caption_dropout_rate\":\"1.0\"" $(module $u 320 768 4)
    make_tensors d_every_epoch.safetensors "$tags,\"ss_caption_dropout_every_n_epochs\":\"1\"" $(module $u 320 768 4)
    make_tensors e_empty.safetensors "$empty" $(module $u 320 768 4)
    make_tensors f_metadata_file.safetensors "$empty,\"ss_datasets\":\"[{\\\"is_dreambooth\\\": false}]\"" $(module $u 320 768 4)
    make_tensors g_part.safetensors "$part" $(module $u 320 768 4)
    make_tensors h_one_folder.safetensors "$two" $(module $u 320 768 4)
    make_tensors i_made_up.safetensors '"software":"{}","ss_tag_frequency":"{\"1_x\": {\"x\": 1}}"' $(module $u 320 768 4)
    make_tensors j_no_counts.safetensors '"ss_steps":"5"' $(module $u 320 768 4)
    make_tensors k_damaged.safetensors '"ss_tag_frequency":"{\"1_x\": {"' $(module $u 320 768 4)
    config() {
        printf '"ss_dataset_dirs":"{\\"10_foo\\": {\\"n_repeats\\": 10, \\"img_count\\": 12}}","ss_tag_frequency":"{\\"10_foo\\": {%s}}","ss_datasets":"[{\\"is_dreambooth\\": true, \\"subsets\\": [{\\"img_count\\": 12, \\"image_dir\\": \\"%s\\", \\"class_tokens\\": %s, \\"is_reg\\": false}]}]"' "$1" "$2" "$3"
    }
    only='\"nhh girl\": 12'
    make_tensors m_class_tokens.safetensors "$(config "$only" 10_foo '\"NHH girl\"')" $(module $u 320 768 4)
    make_tensors n_of_another_folder.safetensors "$(config "$only" 10_bar '\"nhh girl\"')" $(module $u 320 768 4)
    make_tensors o_none.safetensors "$(config "$only" 10_foo null)" $(module $u 320 768 4)
    make_tensors p_with_captions.safetensors "$(config "$only, \\\"red hair\\\": 12" 10_foo '\"nhh girl\"')" $(module $u 320 768 4)
    make_tensors q_merged.safetensors '"lx.merge":"[]","ss_v2":"False","ss_tag_frequency":"{\"meta.json\":{}}"' $(module $u 320 768 4)
    # Folder words with capitals, ASCII and other, in two comma parts.
    named() {
        printf '"ss_dataset_dirs":"{\\"%s\\": {\\"n_repeats\\": 10, \\"img_count\\": 10}}","ss_tag_frequency":"{\\"%s\\": {%s}}"' "$1" "$1" "$2"
    }
    make_tensors r_cyrillic.safetensors "$(named 10_Маша '\"маша\": 10')" $(module $u 320 768 4)
    make_tensors s_umlaut.safetensors "$(named 10_ÄRGER '\"ärger\": 10')" $(module $u 320 768 4)
    make_tensors t_ascii.safetensors "$(named '10_NHH 1girl, Ab' '\"nhh 1girl\": 10, \"ab\": 10')" $(module $u 320 768 4)
    # Regularisation images by --dataset_config: only ss_datasets tells them apart.
    with_reg() {
        printf '"ss_dataset_dirs":"{\\"img\\": {\\"n_repeats\\": 1, \\"img_count\\": 10}}","ss_tag_frequency":"{\\"img\\": {%s}, \\"reg\\": {\\"cat\\": 20}}","ss_datasets":"[{\\"is_dreambooth\\": true, \\"subsets\\": [{\\"image_dir\\": \\"img\\", \\"class_tokens\\": \\"sks cat\\", \\"is_reg\\": false}, {\\"image_dir\\": \\"reg\\", \\"class_tokens\\": null, \\"is_reg\\": true}%s]}]"' "$1" "$2"
    }
    make_tensors u_reg.safetensors "$(with_reg '\"sks cat\": 10')" $(module $u 320 768 4)
    make_tensors v_reg_beside_empty.safetensors "$(with_reg '')" $(module $u 320 768 4)
    make_tensors w_reg_and_training.safetensors "$(with_reg '\"sks cat\": 10' ', {\"image_dir\": \"reg\", \"is_reg\": false}')" $(module $u 320 768 4)
    # Tags that are kept are not dropped.
    dropped='"ss_caption_tag_dropout_rate":"1.0"'
    make_tensors x1_all_tags.safetensors "$tags,$dropped,\"ss_keep_tokens\":\"0\"" $(module $u 320 768 4)
    make_tensors x2_kept.safetensors "$tags,$dropped,\"ss_keep_tokens\":\"3\"" $(module $u 320 768 4)
    make_tensors x3_kept_in_subset.safetensors "$tags,$dropped,\"ss_datasets\":\"[{\\\"subsets\\\": [{\\\"keep_tokens\\\": 2}]}]\"" $(module $u 320 768 4)
    make_tensors x4_separator.safetensors "$tags,$dropped,\"ss_datasets\":\"[{\\\"subsets\\\": [{\\\"keep_tokens_separator\\\": \\\"|||\\\"}]}]\"" $(module $u 320 768 4)
    make_tensors l_nothing.safetensors '' $(module $u 320 768 4)
}
"$LX" inspect . --columns name,rule,strength,captions,proof
for name in r_cyrillic t_ascii u_reg m_class_tokens a_read; do
    "$LX" inspect $name.safetensors | sed -n '/^  captions/,/^  images/p'
done
