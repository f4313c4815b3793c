# sh's own quoting and continuation inside one quoted word.
"$LX" debug flags "python train_network.py \\
  --train_data_dir=my\\ images --output_name 'a b' \\
  --seed 1 --learning_rate 1e-4" | grep -v '^"resolved"'
