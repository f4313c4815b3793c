# lora.sh - sourced by cases: make_lora FILE METADATA_MEMBERS writes a safetensors file of one tensor
#
#     make_lora a.safetensors '"ss_session_id":"7","ss_epoch":"1"'
make_lora() {
    header="{\"__metadata__\":{$2},\"lora_unet_x.alpha\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}"
    while [ $(($(printf %s "$header" | wc -c) % 8)) -ne 0 ]; do header="$header "; done
    n=$(printf %s "$header" | wc -c)
    {
        # shellcheck disable=SC2059
        printf "\\$(printf %03o $((n % 256)))\\$(printf %03o $((n / 256)))\\000\\000\\000\\000\\000\\000"
        printf %s "$header"
        printf '\000\000\200\077\000\000\000\100'
    } >"$1"
}

# The metadata that sd-scripts would write: session_metadata SESSION EPOCH OF_EPOCHS [MORE]
session_metadata() {
    printf '%s' "\"ss_session_id\":\"$1\",\"ss_training_started_at\":\"16750000$1.5\"," \
        "\"ss_training_finished_at\":\"16750010$1.5\",\"ss_output_name\":\"style$1\"," \
        "\"ss_network_dim\":\"4\",\"ss_network_alpha\":\"1.0\",\"ss_learning_rate\":\"0.0001\"," \
        "\"ss_epoch\":\"$2\",\"ss_num_epochs\":\"$3\",\"ss_steps\":\"$(($2 * 100))\"," \
        "\"ss_max_train_steps\":\"$(($3 * 100))\",\"ss_num_train_images\":\"40\",\"ss_seed\":\"42\"," \
        "\"ss_optimizer\":\"bitsandbytes.optim.adamw.AdamW8bit(weight_decay=0.1)\"," \
        "\"ss_resolution\":\"(512, 768)\",\"ss_sd_model_name\":\"nai.ckpt\",\"ss_sd_model_hash\":\"89d59c3d\"," \
        "\"ss_dataset_dirs\":\"{\\\"10_a b\\\": {\\\"n_repeats\\\": 10, \\\"img_count\\\": 4}}\"," \
        "\"ss_tag_frequency\":\"{\\\"10_a b\\\": {\\\"a b\\\": 4}}\"${4:+,$4}"
}

# A safetensors file of tensors that are all zero: make_tensors FILE METADATA_MEMBERS NAME=DTYPE[SHAPE]...
#
#     make_tensors a.safetensors '"ss_epoch":"1"' 'lora_unet_x.lora_down.weight=F16[4,320]' 'lora_unet_x.alpha=F16[]'
make_tensors() {
    file=$1
    header="{${2:+\"__metadata__\":{$2\}}"
    comma=${2:+,}
    shift 2
    at=0
    for tensor in "$@"; do
        shape=${tensor##*=}
        dtype=${shape%%\[*}
        shape=${shape#"$dtype"}
        dims=${shape#\[}
        case $dtype in
            F64 | I64) size=8 ;;
            F32) size=4 ;;
            F16 | BF16) size=2 ;;
            *) size=1 ;;
        esac
        product=$(printf %s "${dims%\]}" | tr , '*')
        end=$((at + size * ${product:-1}))
        header="$header$comma\"${tensor%=*}\":{\"dtype\":\"$dtype\",\"shape\":$shape,\"data_offsets\":[$at,$end]}"
        at=$end
        comma=,
    done
    header="$header}"
    while [ $(($(printf %s "$header" | wc -c) % 8)) -ne 0 ]; do header="$header "; done
    n=$(printf %s "$header" | wc -c)
    {
        # shellcheck disable=SC2059
        printf "\\$(printf %03o $((n % 256)))\\$(printf %03o $((n / 256)))\\000\\000\\000\\000\\000\\000"
        printf %s "$header"
    } >"$file"
    truncate -s $((8 + n + at)) "$file"
}
# Up, down and alpha of one module: module NAME OUT IN RANK [DTYPE]
module() {
    printf '%s.lora_down.weight=%s[%s,%s] %s.lora_up.weight=%s[%s,%s] %s.alpha=%s[]' \
        "$1" "${5-F16}" "$4" "$3" "$1" "${5-F16}" "$2" "$4" "$1" "${5-F16}"
}
