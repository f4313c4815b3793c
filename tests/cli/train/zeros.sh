# Flags of the value that means nothing: as in sd-scripts the metadata says it, and "None" where they were left out.
. "$SOURCE/tests/support/tiny.sh"
said() { # FLAG...
    "$LX" train $flags --max_train_steps 1 --seed 7 --output_dir out --output_name one "$@" >log 2>&1 || cat log
    "$LX" inspect --json out/one.safetensors | grep -oE '"(ss_(network_dropout|scale_weight_norms|noise_offset|'\
'adaptive_noise_scale|multires_noise_iterations|ip_noise_gamma|min_snr_gamma)|modelspec.timestep_range)": "[^"]*"'
    tensors out/one.safetensors
}
said >out.none
said --network_dropout 0 --scale_weight_norms 0 --noise_offset 0 --multires_noise_iterations 0 --ip_noise_gamma 0 \
    --min_snr_gamma 0 --max_timestep 1000 >out.zeros
sed '$d' out.none
echo
sed '$d' out.zeros
tail -n 1 out.none >a && tail -n 1 out.zeros | cmp - a # the same training
