#!/bin/sh
# slurm.sh LX MAKE_CHECKPOINT - lx sweep --slurm on a one-machine Slurm that lives as long as this script
#
# Needs slurmctld, slurmd, sbatch and munged (Debian: slurmctld slurmd slurm-client munge) and root, as
# slurmd does; skipped by name unless LX_PEERS is set. Everything of it lies in a folder of its own, on
# ports of its own; no setting of the machine's is touched.
set -u
skip() {
    echo "skipped: peers/slurm: $1 (tests/peers/README.md)"
    exit 77
}
[ -n "${LX_PEERS-}" ] || skip "LX_PEERS is not set"
for program in slurmctld slurmd sbatch squeue munged; do
    command -v $program >/dev/null || skip "no $program"
done
[ "$(id -u)" = 0 ] || skip "slurmd wants root"
LX=$(realpath "$1") make=$(realpath "$2")
source=$(realpath "$(dirname "$0")/../..")
picture=${LX_GOLDENS:-$source/tests/golden}/e2e/data/reg/1_1girl/reg00.png
[ -e "$picture" ] || skip "no $picture"
dir=$(mktemp -d)

stop() {
    for pid in "$dir/slurmd.pid" "$dir/slurmctld.pid" "$dir/munge/pid"; do
        [ ! -s "$pid" ] || kill "$(cat "$pid")"
    done
    sleep 1
    rm -rf "$dir"
}
fail() {
    echo "$1"
    tail -n 20 "$dir"/*.log "$dir"/jobs/*.log 2>/dev/null
    exit 1
}
trap stop EXIT
trap 'exit 130' INT TERM

mkdir -m 700 "$dir/munge"
mkdir "$dir/state" "$dir/spool" "$dir/jobs" "$dir/home"
dd if=/dev/urandom of="$dir/munge/key" bs=1024 count=1 2>/dev/null
chmod 400 "$dir/munge/key"
munged --force --key-file="$dir/munge/key" --socket="$dir/munge/socket" --pid-file="$dir/munge/pid" \
    --log-file="$dir/munge/log" --seed-file="$dir/munge/seed" || fail "munged does not start"
host=$(hostname)
cat >"$dir/slurm.conf" <<EOF
ClusterName=one
SlurmctldHost=$host
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
AuthInfo=socket=$dir/munge/socket
SlurmctldPort=16817
SlurmdPort=16818
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
NodeName=$host CPUs=$(nproc) State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
EOF
export SLURM_CONF="$dir/slurm.conf"
slurmctld -i && slurmd || fail "Slurm does not start"

export HOME="$dir/home" LX_STORE="$dir/store" OMP_WAIT_POLICY=passive
cd "$dir/jobs" || exit 1
"$make" tiny tiny.safetensors || fail "no checkpoint"
mkdir -p "img/3_iwl 1girl"
cp "$picture" "img/3_iwl 1girl/a.png"
echo "iwl, 1girl, smile" >"img/3_iwl 1girl/a.txt"
flags="--pretrained_model_name_or_path tiny.safetensors --text_encoder_heads 4 --train_data_dir img
    --resolution 64 --caption_extension .txt --cache_latents --threads 1 --max_train_steps 12
    --network_dim 2 --seed 3 --output_dir out"

# shellcheck disable=SC2086
"$LX" sweep --name grid --lr 1e-3,1e-2 --slurm -q -- train $flags || fail "grid: not submitted"
# shellcheck disable=SC2086
"$LX" sweep --name half --lr 1e-6,1e-3,1e-2,1e-4 --halving --eta 2 --slurm -q \
    --slurm-option=--time=0:10:00 -- train $flags || fail "halving: not submitted"
n=0
while squeue -h | grep -q .; do
    n=$((n + 1))
    [ $n -lt 300 ] || fail "the jobs do not end"
    sleep 1
done
for sweep in grid half; do
    "$LX" sweep --results $sweep || fail "$sweep: runs have failed"
    [ "$("$LX" runs --kind sweep --name $sweep --columns status | tail -1)" = finished ] ||
        fail "$sweep is not finished"
done
[ "$("$LX" runs --status finished --kind train --all --csv | tail -n +2 | wc -l)" = 3 ] ||
    fail "other runs than planned"
"$LX" fsck >/dev/null || fail "the store is damaged"
echo "ok"
