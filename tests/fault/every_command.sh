# every_command.sh PROGRAM - the folder that every_command.c tries commands in: `work`, put back after each, with a
# store, a repository and what commands change; `in`, what they only read; `id`, of a run. PROGRAM is lx when
# LX_TEST_AS_LX is set. Ends with 77 when something is missing.
set -e
tools=$(dirname "$1")
picture=${LX_GOLDENS:-$(dirname "$0")/../golden}/e2e/data/reg/1_1girl/reg00.png
[ -x "$tools/make_checkpoint" ] && [ -e "$picture" ] || { echo "skip: no make_checkpoint or no $picture" >&2; exit 77; }
command -v git >/dev/null || { echo "skip: no git" >&2; exit 77; }
export LX_TEST_AS_LX=1 LX_STORE=store HOME="$PWD/work/home" OMP_NUM_THREADS=1 LC_ALL=C.UTF-8
unset XDG_CONFIG_HOME XDG_DATA_HOME XDG_CACHE_HOME
. "$(dirname "$0")/../support/lora.sh"
lx() { "$lx" "$@" >../log 2>&1 || { cat ../log; exit 1; }; }
lx=$1
mkdir in work work/home "in/set" "in/set/3_iwl 1girl" in/one
for name in a b; do
    cp "$picture" "in/set/3_iwl 1girl/$name.png"
    echo "iwl, 1girl, smile" >"in/set/3_iwl 1girl/$name.txt"
done
"$tools/make_checkpoint" nano in/nano.safetensors
cp -r in/set work/set
cp -r in/set work/tags
printf '\377bad\r\n' >"work/set/3_iwl 1girl/b.txt"
cd work
# The leak checker looks at a process from outside it, which a sandbox does not allow.
[ -z "${LX_TEST_NO_SANDBOX:-}" ] || lx config set sandbox false
train() {
    lx train --pretrained_model_name_or_path ../in/nano.safetensors --text_encoder_heads 2 --train_data_dir ../in/set \
        --resolution 64 --caption_extension .txt --network_dim 2 --learning_rate 1e-3 --seed 1 --threads 1 \
        --output_dir ../in "$@"
}
train --output_name a --max_train_steps 2
train --output_name b --max_train_steps 1 --seed 2
train --output_name c --max_train_steps 3 --stop_after_steps 1 --autosave_minutes 0 --output_dir out
lx merge ../in/a.safetensors --into ../in/nano.safetensors -o ../in/tuned.safetensors --no_record
lx export --all -o ../in/all.lxb
lx export a --format mlflow -o ../in/mlruns
lx export a --format tensorboard -o ../in/tb
for n in 1 2 3; do lx log --new "log$n" --flag "dim=$n" --step 1 loss=0.$n --end finished; done
lx log --new open --step 1 loss=0.5
echo "a file" >../in/file
lx tag-run log2 --trash
lx tag-run log3 +was
lx export log3 --format mlflow -o exported
lx tag-run log3 -was +is
for session in 11 12; do make_lora ../in/one/l$session.safetensors "$(session_metadata $session 1 2)"; done
git init -q --bare runs.git && rm -rf runs.git/hooks
git init -q --bare ../in/pushed.git
lx push ../in/pushed.git
printf 'steps:  50%%|#| 1/2 [00:01<00:01,  1.00it/s, avr_loss=0.5]\nsteps: 100%%|#| 2/2 [00:02<00:00,  1.00it/s, avr_loss=0.4]\n' >../in/log.txt
cat ../in/log.txt >../in/print.txt
echo "iwl, 1girl --w 64 --h 64 --s 2" >../in/prompts.txt
printf '# lx marks 1\nmove\t%s\n' "3_iwl 1girl/a.png" >../in/list.txt
lx runs --name a --columns id --csv
tail -n 1 ../log >../id
