# --lr_scheduler piecewise_constant: as flags, quoted as Python wants it, in a config file, and what it does not take.
. "$SOURCE/tests/support/tiny.sh"
flags="$flags --seed 7 --output_dir out --learning_rate 1e-3 --max_train_steps 5 --lr_scheduler piecewise_constant"
train() { # NAME FLAG...
    name=$1
    shift
    "$LX" train $flags --output_name "$name" "$@" >log 2>&1 || { echo "$?"; grep '^lx' log; return; }
    tensors "out/$name.safetensors"
}
train a --lr_scheduler_args step_rules=1:2,0.5:4,0.1 >a
train b --lr_scheduler_args "step_rules='1:2,0.5:4,0.1'" | cmp - a
echo 'lr_scheduler_args = ["step_rules=1:2,0.5:4,0.1"]' >c.toml
train c --config_file c.toml | cmp - a
train d --lr_scheduler_args step_rules=1 | cmp -s - a && echo "the rules change nothing"
train stopped --lr_scheduler_args step_rules=1:2,0.5:4,0.1 --stop_after_steps 3 >/dev/null
"$LX" resume stopped >log 2>&1 || cat log
tensors out/stopped.safetensors | cmp - a
"$LX" export a --format csv | cut -d , -f 3-5 | grep lr/unet
train x
train x --lr_scheduler_args step_rules=1:2
train x --lr_scheduler_args step_rules=1:2,x
train x --lr_scheduler_args lr_end=1
train x --lr_scheduler_args step_rules=1:2,0.1 --lr_warmup_steps 2
train x --lr_scheduler cosine --lr_scheduler_args step_rules=1:2,0.1
