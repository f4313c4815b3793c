# The tag frequencies of a merge: the union of the files', counts of one folder and tag added up; what is no JSON says
# nothing.
. "$SOURCE/tests/support/lora.sh"
factors="lora_unet_x_to_k.lora_down.weight=F32[2,8] lora_unet_x_to_k.lora_up.weight=F32[8,2]"
# shellcheck disable=SC2086
{
    make_tensors a.safetensors '"ss_tag_frequency":"{\"10_x\":{\"red hair\":3,\"\\u00e9t\\u00e9\":1,\"say \\\"a\\\"\":2,\"odd\":\"word\"},\"1_none\":{}}"' $factors
    make_tensors b.safetensors '"ss_tag_frequency":"{\"10_x\":{\"red hair\":4,\"red\":0.5},\"5_y\":{\"red hair\":1}}"' $factors
    make_tensors c.safetensors '"ss_tag_frequency":"{\"10_x\":{"' $factors
}
tags() {
    "$LX" merge "$@" -o out.safetensors --no_record >/dev/null &&
        "$LX" inspect --metadata out.safetensors | grep -o 'ss_tag_frequency.*'
}
tags a.safetensors b.safetensors c.safetensors
tags c.safetensors || echo none
# A metadata file's {} is no proof of empty captions; without ss_datasets it would read as one. But other folders' is.
make_meta() {
    # shellcheck disable=SC2086
    make_tensors "$1" "\"ss_datasets\":\"[{\\\"is_dreambooth\\\": $3}]\",\"ss_tag_frequency\":\"{\\\"$2\\\": {}}\"" $factors
}
make_meta d.safetensors meta.txt false
make_meta e.safetensors 5_y true
for of in d e; do
    tags $of.safetensors $of.safetensors || echo none
    "$LX" inspect out.safetensors --columns rule,strength | sed -n 2p
done
