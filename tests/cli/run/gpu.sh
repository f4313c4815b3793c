# Memory and load of the GPUs, from a library that is loaded at run time.
[ -n "${LX_FAKE_NVML-}" ] || { echo "skip: no fake GPU library" >&2; exit 77; }
export LX_NVML="$LX_FAKE_NVML"
unset CUDA_VISIBLE_DEVICES
"$LX" run -q -- sleep 0.5
"$LX" sql "SELECT key, n > 0, last_value FROM curves WHERE key NOT LIKE '%memory' ORDER BY key"
"$LX" sql "SELECT key, value FROM facts WHERE key LIKE 'gpu%' ORDER BY key"
