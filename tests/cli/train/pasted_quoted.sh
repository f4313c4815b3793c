# One quoted word over several lines, with cmd's continuation and Windows paths.
"$LX" debug flags --path-map 'H:\=/mnt/h' 'H:\sd\venv\Scripts\accelerate.exe launch train_network.py ^
 --pretrained_model_name_or_path="H:\sd\models\base v1.ckpt" ^
 --train_data_dir=h:\kdy\img\ ^
 --output_dir "H:\out" --training_comment "it'\''s mine" --seed 1 --learning_rate 1e-4
 --logging_dir H:\logs' | grep -v '^"resolved"'
