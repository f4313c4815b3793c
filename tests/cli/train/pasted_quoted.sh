# One quoted word over several lines, with cmd's continuation and Windows paths.
"$LX" debug flags --path-map 'H:\=/mnt/h' 'H:\sd\venv\Scripts\accelerate.exe launch train_network.py ^
 --pretrained_model_name_or_path="H:\sd\models\base v1.ckpt" ^
 --train_data_dir=h:\kdy\img\ ^
 --output_dir "H:\out" --training_comment "it'\''s mine" --seed 1 --learning_rate 1e-4
 --logging_dir H:\logs' | grep -v '^"resolved"'
# As copied from a terminal, with its prompt and variables.
"$LX" debug flags '$ CUDA_VISIBLE_DEVICES=0 NAME="a b" accelerate launch --num_processes 1 train_network.py
 --train_data_dir img' | grep -v '^"resolved"'
"$LX" debug flags ' $ env A=1 python train_network.py --train_data_dir img' | grep -v '^"resolved"'
