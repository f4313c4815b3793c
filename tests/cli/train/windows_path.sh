# A Windows path that nothing maps: the message shows the option to add.
"$LX" debug flags --train_data_dir 'H:\kdy\img'
echo $?
"$LX" debug flags --output_dir '\\nas\pics\out'
echo $?
"$LX" debug flags --path_map a
echo $?
"$LX" debug flags --path-map H: --output_dir 'H:\out'
