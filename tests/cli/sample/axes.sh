# A sheet over seeds, steps, cfg, clip_skip and samplers, each axis with its labels; values that make no sense are named.
. "$SOURCE/tests/support/tiny.sh"
draw() { "$LX" sample --base tiny.safetensors --text_encoder_heads 4 -W 64 -H 64 -p 'a <lora:e:1> cat' "$@"; }
cp "$LX_GOLDENS/train/lora_init_a.safetensors" e.safetensors
draw --steps 1 --grid seed=3-4,9 --grid cfg=1,2.5 --grid clip_skip=2 --grid 'sampler=ddim' --grid steps=1 -o g \
    >g.out || exit
grep -o '<th[^>]*>[^<]*' g/*grid.html
draw --steps 1 --grid strength=0,0.5 --seed 4 -o s | wc -l
try() { draw "$@" >/dev/null; echo "= $?" >&2; }
try --grid seed=1-9999999
try --grid seed=x
try --grid steps=0
try --grid cfg=much
try --grid clip_skip=65
try --grid sampler=nothing
try --grid strength=x
try --grid seed=1 --grid seed=2
try --grid prompt=dog,
try --grid 'prompt=,dog'
try --grid "seed=1-60" --grid "steps=$(seq -s, 1 60)" --grid "cfg=$(seq -s, 1 60)"
try --grid seed=1 --grid steps=1 --grid cfg=1 --grid clip_skip=1 --grid sampler=ddim --grid strength=1 --grid lora=none \
    --grid prompt=cat,dog --grid prompt=a,b
