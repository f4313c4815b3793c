# A run is named after what it saved, without the ending; other dots are the name's.
for path in out/hifumi-v1.5.safetensors 'H:\Loras\v2.0.ckpt' out/plain.pt out/v3.1 out/last.safetensors; do
    printf 'running training\nsteps: 100%%|##| 2/2 [00:02<00:00,  1.00it/s, avr_loss=0.5]\nsave trained model to %s\nmodel saved.\n' "$path" >a.log
    "$LX" --store "$path.store" import -q a.log >/dev/null && "$LX" --store "$path.store" runs --columns name --csv | tail -n 1
done
