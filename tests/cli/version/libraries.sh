# Starting lx loads no libvips: with the hundred libraries below it, it would take 30 ms.
command -v ldd >/dev/null || { echo "skip: no ldd" >&2; exit 77; }
ldd "$LX" >libraries && ! grep libvips libraries
