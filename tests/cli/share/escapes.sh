# A name behind \n, or in letters that JSON writes as \uXXXX, goes out of the metadata as well.
. "$SOURCE/tests/support/lora.sh"
export USER=zorblax
k=lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k
# shellcheck disable=SC2046
make_tensors a.safetensors "\"ss_training_comment\":\"trained by\\nzorblax on\\tzorblax\",\
\"ss_sd_model_name\":\"/home/\\u592a\\u90ce/models/x\",\"ss_vae_name\":\"C:\\\\Users\\\\Jos\\u00e9\\\\vae.pt\",\
\"ss_datasets\":\"[{\\\"image_dir\\\": \\\"/home/\\\\u592a\\\\u90ce/img\\\"}]\"" $(module $k 320 768 4)
"$LX" share a.safetensors -o up | grep 'taken out'
head -c 2000 up/a.safetensors | grep -ao '"ss_[^}]*}[^}]*' | sed 's/}$//; s/,"ss/\n"ss/g'
