# The loss on held-out images is what counts where it was measured in time, else the training's.
. "$SOURCE/tests/support/tiny.sh"
flags="$flags --max_train_steps 6 --network_dim 2 --output_dir out --seed 5 --validation_split 0.5
    --validate_every_n_steps 4"
head() { sed -n '1s/.* //p' "$1"; }
$LX sweep --name v --lr 1e-3,1e-2 -q -- train $flags >table 2>/dev/null
head table
$LX sweep --name h --lr 1e-3,1e-2 --halving --eta 2 -q -- train $flags >table 2>/dev/null
head table
grep -c '^best: h-002' table
$LX sweep --results v --metric grad_norm | sed -n '1s/.* //p'
