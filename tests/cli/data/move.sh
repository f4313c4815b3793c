# A list moves images with what belongs to them, and back; all that could go wrong is refused before anything moves.
pictures="$SOURCE/tests/golden/data/images/in"
[ -e "$pictures/rgb.png" ] || { echo "skip: no $pictures" >&2; exit 77; }
set="img/10_iwl"
mkdir -p "$set" img/5_b
for name in a.png b.png c.png twin.png d_e.png; do cp "$pictures/tiny.png" "$set/$name"; done
cp "$pictures/tiny.png" img/5_b/a.png
cp "$pictures/photo.jpg" "$set/twin.jpg"
for name in a b twin ab; do echo "iwl, $name" >"$set/$name.txt"; done
touch "$set/a.npz" "$set/a_0512x0768_sd.npz" "$set/a_b.npz" "$set/a.caption" "$set/ab.npz" "$set/a.json" "$set/d_e.npz"
all() { find img -type f | LC_ALL=C sort | xargs -d '\n' sha256sum; }
move() {
    "$LX" data move "$@" >out 2>err </dev/null
    echo "$? $(sed 's/[0-9a-f]\{16\}/RUN/g' err)"
    cat out
}
printf '# lx marks 1\ndrop\t10_iwl/a.png\nkeep\t10_iwl/b.png\ndrop\t10_iwl/twin.png\n' >marks.list
all >before
move marks.list --from img --to culled
[ ! -e culled ] && all | cmp - before && echo "nothing was moved"
move marks.list --from img --to culled --write
find culled "$set" -type f | LC_ALL=C sort
move marks.list --from img --to culled --write
"$LX" data undo 2>/dev/null
"$LX" data undo --write 2>/dev/null
all | cmp - before && echo "as they were"
# Both of a pair take their caption along; a list by standard input; one mark of two.
printf 'drop\t10_iwl/twin.png\nmove\t10_iwl/twin.jpg\n' >both.list
move both.list --from img --to culled
move both.list --from img --to culled --mark keep
printf 'drop\t10_iwl/twin.png\ndrop\t10_iwl/twin.jpg\n' | (cd img && "$LX" data move - --to ../culled 2>&1)
# Nothing is overwritten, and two never become one.
mkdir -p full && echo mine >full/a.caption
move marks.list --from img --to full --write
cat full/a.caption
printf 'move\t10_iwl/a.png\nmove\t5_b/a.png\n' >names.list
move names.list --from img --to culled --write
printf 'drop\t10_iwl/b.png\ndrop\t10_iwl/gone.png\n' >gone.list
move gone.list --from img --to culled --write
# Tricks.
for name in ../img/10_iwl/a.png /etc/hostname 10_iwl/../10_iwl/a.png 10_iwl//a.png ./a.png 10_iwl/a.txt 10_iwl '\x2e\x2e/a.png' 'a\q'; do
    printf 'drop\t%s\n' "$name" >trick.list
    move trick.list --from img --to culled --write
done
printf 'drop 10_iwl/a.png\n' >trick.list
move trick.list --from img --to culled --write
printf 'drop\t10_iwl/a.png\nkeep\t10_iwl/a.png\n' >trick.list
move trick.list --from img --to culled --write
# A folder that leads out of it, and an image that is a link.
ln -s ../outside img/link
mkdir outside && cp "$pictures/tiny.png" outside/o.png
printf 'drop\tlink/o.png\n' >trick.list
move trick.list --from img --to culled --write
ln -s ../../outside/o.png "$set/l.png"
printf 'drop\t10_iwl/l.png\n' >trick.list
move trick.list --from img --to culled --write
ls outside
move
move marks.list
move nowhere.list --to x
move marks.list --from nowhere --to x
