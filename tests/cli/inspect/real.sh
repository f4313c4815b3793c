# Files that others made, when LX_REAL names their folder: what they are, by their own documentation.
[ -d "${LX_REAL-}" ] || { echo "skip: LX_REAL is not set" >&2; exit 77; }
cp "$LX_REAL"/*.safetensors "$LX_REAL"/*.bin .
"$LX" inspect . --columns name,what,base,family,trainer,rank,modules,unet,te,dtype,unknown,captions
"$LX" inspect --weights --each analog_svd_rank4.safetensors animal_diffusers_r4.safetensors axe_diffusers_r4.bin lora_disney.safetensors |
    grep -E '^[a-z]|embeddings|<s2>|update|stable|text path|started'
"$LX" inspect "$LX_REAL/darius" 2>&1 | sed "s|$LX_REAL|REAL|"; true
