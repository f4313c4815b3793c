# --strict does not start a training whose captions would not be read.
[ -d "$LX_GOLDENS/e2e/data/train" ] || { echo "skip: no golden images" >&2; exit 77; }
cp -r "$LX_GOLDENS/e2e/data/train" img
cat >data.toml <<'END'
[[datasets]]
resolution = 512
  [[datasets.subsets]]
  image_dir = "img/2_iwl 1girl"
  num_repeats = 2
  class_tokens = "iwl 1girl"
END
cat >run.toml <<'END'
[anything]
dataset_config = "data.toml"
flag_of_tomorrow = [1, 2]
END
echo 'echo started >started' >train_network.py
"$LX" run --strict -- sh train_network.py --train_data_dir img --resolution 512; echo "exit $?"
"$LX" run --strict -- sh train_network.py --config_file run; echo "exit $?"
ls started 2>/dev/null
"$LX" run -q --strict -- sh train_network.py --config_file run.toml --caption_extension .txt; echo "exit $?"
cat started
"$LX" sql "SELECT key, value FROM flags WHERE key IN ('flag_of_tomorrow', 'caption_extension')"
"$LX" sql "SELECT value FROM facts WHERE key = 'captions.verdict'"
