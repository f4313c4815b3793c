# A pasted line as the shell split it; lx's own flags may stand in front.
"$LX" debug flags --threads 2 accelerate launch --num_cpu_threads_per_process 1 \
    sd-scripts/train_network.py --pretrained_model_name_or_path=base.safetensors \
    --train_data_dir img --resolution=512,512 --network_dim 8 --seed 1 --xformers \
    --learning_rate=1e-4 --network_alpha 4 | grep -v '^"resolved"'
# Variables in front have no effect; a flag's value that looks like one is a value.
"$LX" debug flags --xformers CUDA_VISIBLE_DEVICES=0 HF_TOKEN=hush accelerate launch train_network.py \
    --train_data_dir img | grep -v '^"resolved"'
"$LX" debug flags --network_args conv_dim=4 accelerate launch train_network.py --train_data_dir img |
    grep -v '^"resolved"'
