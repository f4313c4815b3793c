"$LX" debug flags accelerate launch sdxl_train_network.py --seed 1
echo $?
"$LX" debug flags accelerate launch --num_processes 2 train_network.py --seed 1
echo $?
"$LX" debug flags accelerate launch --seed 1
echo $?
"$LX" debug flags 'accelerate launch train_network.py --output_name "open'
