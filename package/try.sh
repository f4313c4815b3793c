#!/bin/sh
# try.sh - installs the packages that lie beside it, uses them as a user would and takes them away again
set -eu
cd "$(dirname "$0")"
export DEBIAN_FRONTEND=noninteractive HOME=/root LC_ALL=C.UTF-8
apt-get install -q -y --no-install-recommends ./lx_*.deb ./liblx-store0_*.deb ./liblx-store-dev_*.deb >apt.log 2>&1 ||
    { cat apt.log; exit 1; }
lx --version
for file in /usr/share/man/man1/lx.1.gz /usr/share/man/man1/lx-train.1.gz /usr/share/doc/lx/lx.spdx.json \
    /usr/share/bash-completion/completions/lx /usr/share/zsh/vendor-completions/_lx \
    /usr/share/fish/vendor_completions.d/lx.fish /usr/include/lx_store.h; do
    [ -s $file ] || { echo "$file is not there"; exit 1; }
done
ldconfig -p | grep -q liblx_store.so.0
cd /root
lx train --pretrained_model_name_or_path /new/base.safetensors --train_data_dir /new/iwl --caption_extension .txt \
    --resolution 128 --network_dim 4 --learning_rate 1e-3 --max_train_steps 3 --seed 1 --output_dir out --output_name three
lx inspect out/three.safetensors
lx sample --base /new/base.safetensors --lora out/three.safetensors -p "iwl, 1girl" --width 128 --height 128 --steps 4 \
    --seed 1 -o pictures --quiet
lx runs
lx fsck
apt-get purge -q -y lx liblx-store0 liblx-store-dev >apt.log 2>&1 || { cat apt.log; exit 1; }
[ ! -e /usr/bin/lx ] || { echo "lx is still there"; exit 1; }
echo "packages: installed, used and removed"
