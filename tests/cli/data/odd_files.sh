# What is no file under the name of one is a finding like any other, and a name that leaves no room for an ending has no
# caption of that ending.
picture=$SOURCE/tests/golden/data/images/in/tiny.png
[ -e "$picture" ] || { echo "skip: no $picture" >&2; exit 77; }
mkdir -p odd/5_iwl long/5_iwl
for name in ok a; do cp "$picture" "odd/5_iwl/$name.png"; done
echo iwl >odd/5_iwl/ok.txt
ln -s a.txt odd/5_iwl/a.txt
ln -s self.png odd/5_iwl/self.png
ln -s gone odd/5_iwl/gone.png
mkfifo odd/5_iwl/fifo.png
"$LX" data check odd --resolution 64 --caption_extension .txt 2>&1 | grep -A 1 '^error'
"$LX" data tags odd 2>&1 || echo "tags: $?"
"$LX" plan --train_data_dir odd --resolution 64 --caption_extension .txt --max_train_steps 1 --no_timing \
    --skip-bad-images 2>&1 | grep -E 'left out|^stop'
for n in 248 251; do
    stem=$(head -c "$n" /dev/zero | tr '\0' a)
    cp "$picture" "long/5_iwl/$stem.png"
    echo "iwl, $n" >"long/5_iwl/$stem.txt"
done
"$LX" data tags long 2>&1
"$LX" data check long --resolution 64 --caption_extension .txt >out 2>&1 && echo "long names: good"
"$LX" data check long --resolution 64 2>&1 | grep -A 1 '^error' | cut -c 1-60
"$LX" data check long --resolution 64 --caption_extension .caption 2>&1 | grep '^error' | cut -c 1-40
# A folder's name stands for captions that are not there, and in the metadata: it must be a text, told before the first step.
name=$(printf '5_iwl caf\351')
mkdir -p "named/$name"
cp "$picture" "named/$name/a.png"
cp "$picture" "named/$name/b.png"
echo iwl >"named/$name/b.txt"
"$LX" plan --train_data_dir named --resolution 64 --caption_extension .txt --max_train_steps 1 --no_timing 2>&1 | grep '^stop'
"$LX" data check named --resolution 64 --caption_extension .txt 2>&1 | grep -A 1 '^error'
