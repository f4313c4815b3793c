# A training state of lx is told as that, with its step and run, and is not counted among LoRAs.
. "$SOURCE/tests/support/tiny.sh"
# shellcheck disable=SC2086
"$LX" train $flags --max_train_steps 2 --save_state --output_dir out --output_name it >log 2>&1 || { cat log; exit 1; }
"$LX" inspect out --columns file,what,rank,captions
"$LX" inspect out --where 'rank > 4'
"$LX" inspect out/it-state/state.safetensors | sed "s/run [0-9a-f]*$/run ID/"
"$LX" inspect out/it-state/state.safetensors --json | grep -E '"what"|"modules"|"damaged"|"not_understood"|lx.step'
"$LX" share out/it-state/state.safetensors -o shared
