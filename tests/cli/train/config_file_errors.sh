try() {
    printf '%s\n' "$1" >run.toml
    "$LX" debug flags --config_file run.toml
    echo $?
}
try 'learning_rat = 1e-4'
try '
[a]
learning_rate = "fast"'
try 'xformers = 1'
try 'network_dim = 4.5'
try 'network_args = "conv_dim=4"'
try '[a.b]
seed = 1'
try 'save_precision = "fp8"'
try 'initial_step = 5'
try 'config_file = "x"'
try '[[datasets]]
resolution = 512'
try 'seed = 1
seed = 2'
try 'train_data_dir = "H:\\img"'
# .toml is appended where a name lacks it; what is there under the name itself is no such file.
named() { "$LX" debug flags --config_file "$1" >/dev/null; echo $?; }
echo '{"learning_rate": 1e-4}' >gui.json
named gui.json
echo 'seed = 1' >plain
named plain
named nowhere
echo 'seed = 1' >gui.json.toml
named gui.json
