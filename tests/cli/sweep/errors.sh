# What makes no sense is said before anything is trained, and nothing is left of it.
. "$SOURCE/tests/support/tiny.sh"
flags="$flags --max_train_steps 4 --output_dir out --seed 1"
try() { "$LX" sweep "$@" >/dev/null; echo $?; }
try
try --dim 4,8
try --dim 4,8 -- merge a b
try --dim 4,8 -- run python train.py
try --dimm 4,8 -- train $flags
try --dim -- train $flags
try --dim 4,4 -- train $flags
try --dim 4,x -- train $flags
try --dim 4,0 -- train $flags
try --lr 1e-5..1e-3 -- train $flags
try --lr 1e-3..1e-5 --random 3 -- train $flags
try --lr 0..1:log --random 3 -- train $flags
try --dim 4,8 --rank 4,8 -- train $flags
try --output_name a,b -- train $flags
try --dim 4,8 --name '../x' -- train $flags
try --dim 4,8 --name '$(reboot)' -- train $flags
try --seeds -3 -- train $flags
try --seeds 1 -- train $flags
try --random 3 --dim 4,8 --halving --eta 1 -- train $flags
try --dim 4,8 dim 4 -- train $flags
try --dim 4,8 --slot 1 -- train $flags
try --dim 4,8 --slurm-option=--array=3 --slurm-only-write -- train $flags
try --dim 4,8 -- train $flags --stop_after_steps 2
try --dim 4,8 -- train $flags --store elsewhere
try --dim 4,8 -- train $flags --caption_extension .caption
try --x 1,2 -- run -- python t.py --api_key sk-1234567890
try --resume nothing
try --resume nothing --dim 4,8
try --results
try --random 0 --dim 4,8 -- train $flags
try --random -1 --dim 4,8 -- train $flags
try --random 2 -- train $flags
try --random-seed 3 --dim 4,8 -- train $flags
try --dim 4,8 --halving --min-steps 0 -- train $flags
try --dim 4,8 --seed 1,2 --seeds 2 -- train $flags
try --dim 4,8 --seed= -- train $flags
try --dim 4,8 -- train $flags --output_config
try --dim "$(printf '4,\377')" -- train $flags
try --dim 4,8 --rung 0 -- train $flags
try --dim "$(seq -s, 1 120)" --alpha "$(seq -s, 1 120)" -- train $flags
try --seeds 0 --dim 4,8 -- train $flags
try --dim 4,8 --eta 2 -- train $flags
try --dim 4,8 --min-steps 5 -- train $flags
try --dim 4,8 --metric lossy -- train $flags
try --resume nothing --eta 2
try --results nothing --min-steps 5
try --results nothing --random-seed 5
try --results nothing --slurm
try --resume nothing --slot 3 --slurm-only-write
"$LX" runs --all
ls
