# What makes no sense is said in one line, and nothing is written.
. "$SOURCE/tests/support/lora.sh"
key=model.diffusion_model.middle_block.1.proj_in.weight
make_tensors base.safetensors '' "$key=F32[8,8]"
make_tensors same.safetensors '' "$key=F16[8,8]"
make_tensors other.safetensors '' "$key=F32[8,6]"
make_tensors foreign.safetensors '' 'something.else=F32[4]'
for name in trunc_data ok_minimal; do
    cp "$SOURCE/tests/badfiles/st_$name.safetensors" .
done
cp "$SOURCE/tests/badfiles/ckpt_os_system_raw.ckpt" "$SOURCE/tests/badfiles/ckpt_storage_short.ckpt" .
try() {
    "$LX" extract "$@"
    echo "exit $?" >&2
}
try
try base.safetensors --rank 4 -o out.safetensors
try base.safetensors --tuned same.safetensors --rank 4 -o out.safetensors
try a b c --rank 4 -o out.safetensors
# Two words for one thing, of which one would be taken without a word.
try --base base.safetensors --model_org same.safetensors --tuned same.safetensors --rank 4 -o out.safetensors
try --base base.safetensors --model_org same.safetensors --rank 4 -o out.safetensors
try --base base.safetensors --tuned same.safetensors --model_tuned other.safetensors --rank 4 -o out.safetensors
try base.safetensors same.safetensors --rank 4 -o out.safetensors --save_to out2.safetensors
try base.safetensors same.safetensors --rank 4
try base.safetensors same.safetensors --rank 4 -o out.ckpt
try base.safetensors same.safetensors --rank 4 -o same.safetensors
try base.safetensors same.safetensors -o out.safetensors
try base.safetensors same.safetensors --rank 0 -o out.safetensors
try base.safetensors same.safetensors --dim 0 -o out.safetensors
try base.safetensors same.safetensors --rank 4 --dim 4 -o out.safetensors
try base.safetensors same.safetensors --rank 4 --conv_rank -1 -o out.safetensors
try base.safetensors same.safetensors --error 0% -o out.safetensors
try base.safetensors same.safetensors --rank 4 --clamp_quantile 0 -o out.safetensors
try base.safetensors same.safetensors --rank 4 --clamp_quantile 1.5 -o out.safetensors
try base.safetensors same.safetensors --rank 4 --min_diff -1 -o out.safetensors
try base.safetensors same.safetensors --rank 4 --v2 --sdxl -o out.safetensors
try base.safetensors same.safetensors --rank 4 --save_precision f8 -o out.safetensors
try base.safetensors same.safetensors --rank 4 -o out.safetensors
try base.safetensors other.safetensors --rank 4 -o out.safetensors
try base.safetensors foreign.safetensors --rank 4 -o out.safetensors
try base.safetensors none.safetensors --rank 4 -o out.safetensors
try base.safetensors st_trunc_data.safetensors --rank 4 -o out.safetensors
try st_ok_minimal.safetensors base.safetensors --rank 4 -o out.safetensors
try ckpt_os_system_raw.ckpt base.safetensors --rank 4 -o out.safetensors
try base.safetensors ckpt_storage_short.ckpt --rank 4 -o out.safetensors
# What only one of them has as numbers.
make_tensors whole.safetensors '' "$key=I64[8,8]" 'model.diffusion_model.middle_block.1.proj_out.weight=F32[8,8]'
make_tensors both.safetensors '' "$key=F32[8,8]" 'model.diffusion_model.middle_block.1.proj_out.weight=F32[8,8]'
try both.safetensors whole.safetensors --rank 4 -o out.safetensors
[ ! -e out.safetensors ] && [ ! -e out2.safetensors ] && [ ! -e "$LX_STORE" ] && echo "nothing was written"
