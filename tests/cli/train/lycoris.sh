# LoHa and LoKr: the same bytes with two threads and after a resume, in LyCORIS' format, which lx's own
# commands read; lx plan tells the file's size; what is not trained here says what to use.
. "$SOURCE/tests/support/tiny.sh"
bytes() { tail -c +$(($(od -An -tu8 -N8 "$1") + 9)) "$1"; }
train() { # OUT THREADS FLAG...
    out=$1 threads=$2
    shift 2
    "$LX" train $flags --network_module lycoris.kohya --network_dim 2 --learning_rate 1e-2 \
        --max_train_steps 4 --seed 42 --output_dir "$out" --output_name a --quiet "$@" \
        --threads "$threads" >log 2>&1 || { cat log; exit 1; }
    bytes "$out/a.safetensors" >"$out.tensors"
}
check() { # NAME ARGS...
    name=$1
    shift
    train one 1 --save_every_n_steps 2 --save_state --network_args "$@"
    train two 2 --network_args "$@"
    train resumed 1 --resume one/a-step00000002-state --network_args "$@"
    cmp -s one.tensors two.tensors || { echo "$name: other tensors with two threads"; exit 1; }
    cmp -s one.tensors resumed.tensors || { echo "$name: other tensors after a resume"; exit 1; }
    planned=$("$LX" plan --json $flags --network_module lycoris.kohya --network_dim 2 --learning_rate 1e-2 \
        --max_train_steps 4 --seed 42 --output_dir one --output_name a --network_args "$@" 2>/dev/null |
        grep -o '"file_bytes": *[0-9]*' | grep -o '[0-9]*$' | head -1)
    more=$((planned - $(stat -c %s one/a.safetensors)))
    [ "$more" -le 24 ] && [ "$more" -ge -24 ] || echo "$name: planned $more bytes more than there are"
    "$LX" inspect one/a.safetensors | grep -E '^ *(kind|what|modules|network|trained)' | head -4
}
check loha algo=loha
check lokr algo=lokr factor=4 rank_dropout=0.2 module_dropout=0.1
"$LX" inspect --json one/a.safetensors | grep -o '"ss_network_[dm][a-z]*": "[^"]*"' | sort
# Read by the others.
"$LX" merge one/a.safetensors:0.5 --into tiny.safetensors -o merged.safetensors >/dev/null 2>err || cat err
[ -s merged.safetensors ] || echo "no checkpoint"
# Gone on with.
train on 1 --network_weights one/a.safetensors --network_args algo=lokr factor=4
cmp -s one.tensors on.tensors && echo "four more steps change nothing"
"$LX" train $flags --network_weights one/a.safetensors --output_dir x --max_train_steps 1 --quiet 2>&1 |
    sed 's/lora_te[a-z0-9_]*/KEY/'
