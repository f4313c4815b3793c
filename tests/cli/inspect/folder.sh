# A folder of files, one row each: verdicts, order, queries, fields, CSV, JSON, patterns, what is broken.
. "$SOURCE/tests/support/lora.sh"
mkdir -p lib/styles/old lib/.hidden
te=lora_te_text_model_encoder_layers_0_self_attn_q_proj
k=lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k
# shellcheck disable=SC2046
{
    make_tensors lib/words.safetensors "$(session_metadata 1 1 2)" $(module $te 768 768 8) $(module $k 320 768 8)
    make_tensors lib/tags.safetensors "$(session_metadata 2 2 2 | sed 's/\\"a b\\": 4}/\\"a b\\": 4, \\"red hair\\": 3}/')" \
        $(module $te 768 768 16) $(module $k 320 768 16)
    make_tensors lib/styles/xl.safetensors '' $(module $k 640 2048 4 BF16)
    make_tensors lib/styles/old/same.safetensors "$(session_metadata 1 2 2)" $(module $te 768 768 8) $(module $k 320 768 8)
    make_tensors lib/.hidden/no.safetensors '' $(module $k 320 768 4)
}
make_tensors lib/emb.safetensors '' 'emb_params=F32[4,768]'
echo '<!DOCTYPE html>' >lib/page.safetensors
echo 'a note' >lib/readme.txt
: >lib/picture.png

"$LX" inspect lib; echo "= $?"
"$LX" inspect lib/*.safetensors --sort -rank,size --columns name,rank,alpha,te,unet,images,tags,top 2>&1
"$LX" inspect lib --where 'captions ~ "not read" and rank < 10' --columns file,rule,proof
"$LX" inspect 'lib/st*/x?.safetensors' 'lib/tag[s].safetensors' --columns file,base,dtype,size,steps,ss_seed --csv | tr -d '\r'
"$LX" inspect lib/styles --json --columns name,base,rank,steps,epoch,date
"$LX" inspect lib --where 'rnak > 3'; echo "= $?"
"$LX" inspect lib --columns nothing; echo "= $?"
"$LX" inspect 'lib/*.ckpt'; echo "= $?"
mkdir empty && : >empty/a.png
"$LX" inspect empty; echo "= $?"
"$LX" inspect lib --where 'what = broken' --columns file,problem --quiet; echo "= $?"
