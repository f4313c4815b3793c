# What makes no sense is told before a model is opened (there is none here).
try() { "$LX" sample --base none.safetensors "$@"; echo "= $?" >&2; }
"$LX" sample -p x; echo "= $?" >&2
try
try -p 'cat AND dog'
try -p '<hypernet:x:1>'
try -p 'a <lora:none:1>'
try -p 'a <lora:none:nan>'
try -p 'a <lora:none:inf>'
try -p 'a <lora::1>'
try -p 'a <lora:none:1:dyn=3>'
try -p a --sampler nothing
try -p a --sampler 'DDIM Karras'
try -p a -W 100
try -p a --steps 0
try -p a --steps 5000
try -p a --cfg nan
try -p a --images 0
try -p a --batch 0
try -p a --seed -1 --batch 1000
try -p a --seed -5
try -p a -o x.jpg
try -p a --images 2 -o x.png
try -p a --noise white
try -p a --grid strength=1
try -p a --grid nothing=1
try -p a --grid 'prompt=b,c'
try -p a --grid 'lora=nothing*.safetensors'
try -p a --grid seed=4-1
try -p a --grid seed=1-3 --images 2
try -p a --prompt_file x.txt
printf 'a --q 3\n' >bad.txt
try --prompt_file bad.txt
printf 'cat\ndog\0bird\n' >nul.txt
try --prompt_file nul.txt
printf 'cat\ndog, caf\351\n' >latin1.txt
try --prompt_file latin1.txt
printf 'not a picture' >text.png
try --from text.png
try -p a
try -p a --mixed_precision f16
try -p a --fp16 --bf16
try -p a --mixed_precision no --bf16
try -p a --half_vae
try -p a --bf16 --half_vae --no_half_vae
"$LX" sample --base none.safetensors -p a --fp16 2>&1 | sed "s/([^)]*)/(...)/" >&2
