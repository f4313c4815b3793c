# Pictures in 16 bits: the same bytes whether streams run at once or late and in any order, other ones for each
# type; a picture says what it was computed in, and makes itself again; a type that a device lacks is refused.
make=$(dirname "$LX")/../make_checkpoint
lora=$LX_GOLDENS/train/lora_init_a.safetensors
[ -x "$make" ] && [ -e "$lora" ] || { echo "skip: no $make or no $lora" >&2; exit 77; }
"$make" tiny tiny.safetensors || exit 1
cp "$lora" a.safetensors

# draw NAME FLAG... - NAME.png
draw() {
    name=$1
    shift
    "$LX" sample --base tiny.safetensors --text_encoder_heads 4 --device cuda -W 64 -H 64 --threads 1 \
        -o "$name.png" "$@" >/dev/null
}
ask() { draw "$@" -p '1girl, <lora:a:0.7>' --seed 3 --sampler Euler; }
ask eager --steps 3 --fp16 --no_record
LX_CUDA_EMULATION=lazy=1,order=2,seed=5 ask late --steps 3 --mixed_precision fp16 --no_record
cmp eager.png late.png || exit 1

ask f32 --steps 1 --no_record
ask fp16 --steps 1 --fp16 --no_half_vae --no_record
ask bf16 --steps 1 --bf16 --half_vae --name half
for pair in 'f32 fp16' 'f32 bf16' 'fp16 bf16'; do
    set -- $pair
    ! cmp -s "$1.png" "$2.png" || { echo "$1 and $2 are the same"; exit 1; }
done
strings -n 20 bf16.png | grep -o 'Precision: .*precision: [a-z0-9]*'
strings -n 20 fp16.png | grep -o 'Precision: [a-z0-9]*'
strings -n 20 f32.png | grep -c 'Precision'
"$LX" show half | grep -e mixed_precision -e half_vae
draw again --from bf16.png --no_record && cmp again.png bf16.png || exit 1
draw plain --from bf16.png --mixed_precision no --no_record && cmp plain.png f32.png || exit 1

LX_CUDA_EMULATION=sm=75 ask old --bf16 --no_record
echo $?
"$LX" sample --base tiny.safetensors -p a --fp16 2>&1 | sed 's/([^)]*)/(...)/'
