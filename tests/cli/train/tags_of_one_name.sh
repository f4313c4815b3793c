# Two folders of one name: their tags are counted under it once, and the metadata stay JSON that every reader takes.
. "$SOURCE/tests/support/tiny.sh"
mkdir reg
cp -r 'img/3_iwl 1girl' 'reg/3_iwl 1girl'
echo 'iwl, 1girl, frown' >'reg/3_iwl 1girl/a.txt'
"$LX" train $flags --reg_data_dir reg --max_train_steps 1 --learning_rate 1e-4 --network_dim 4 --network_alpha 4 \
    --seed 1 --output_dir out -q >log 2>&1 || { cat log; exit 1; }
"$LX" inspect --json out/last.safetensors | grep -o '"ss_tag_frequency": ".*"'
