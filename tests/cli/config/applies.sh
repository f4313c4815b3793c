# What is set applies where nothing nearer says otherwise, is said, and is recorded; not to a run taken up again.
command -v python3 >/dev/null || { echo "skip: no python3 to be recorded" >&2; exit 77; }
. "$SOURCE/tests/support/tiny.sh"
flags="$flags --max_train_steps 2 --seed 1 --network_dim 2 --output_dir out"
$LX train $flags --output_name before --quiet >/dev/null 2>&1 || exit 1
$LX config set train.min_snr_gamma 5 && $LX config set train.flip_aug true && $LX config set train.threads 2 || exit 1
$LX train $flags --output_name a 2>&1 >/dev/null | grep 'set in'
$LX show a --json | grep -A2 '"settings"\|"flags_given"' | grep settings
$LX show a --json | grep '"min_snr_gamma"\|"flip_aug"' | sort -u
$LX train $flags --output_name b --min_snr_gamma 1 --flip_aug=false 2>&1 >/dev/null | grep 'set in'
$LX show b --json | grep -o '"settings".*'
$LX reproduce before --quiet 2>/dev/null | tail -1 | cut -c1-9
$LX train --like before --output_name c 2>&1 >/dev/null | grep -c 'set in'
$LX plan --train_data_dir img --resolution 64 --caption_extension .txt | grep 'set in'

git init -q --bare remote.git
$LX config set remote "$PWD/remote.git"
$LX push | sed 's/to .*,/to REMOTE,/'
$LX pull --dry-run | sed 's/from .*/from REMOTE/'
$LX config set privacy.words 'hifumi,before'
$LX export before -o out.json 2>/dev/null && grep -c before out.json
mkdir out.d && cp "img/3_iwl 1girl/a.png" out.d && echo tag >out.d/a.txt
$LX config set run.strict true
mkdir -p img2/1_x && cp out.d/* img2/1_x
$LX run -q -- sh -c 'true train_network.py --train_data_dir img2' && echo started
echo 'print("trained")' >train_network.py
$LX run -q -- python3 train_network.py --train_data_dir img2 --resolution 64
echo "exit $?"
$LX run -q --strict=false -- python3 train_network.py --train_data_dir img2 --resolution 64 2>/dev/null
unset LX_STORE
$LX config set store "$HOME/elsewhere" && $LX log --new x loss=1 >/dev/null && ls "$HOME/elsewhere" | head -1
mkdir .lx && $LX log --new y loss=1 >/dev/null && ls .lx | head -1
$LX config list | sed 's/ *$//; s/  */ /g'
