# Starting lx loads neither libvips nor libgit2 nor libmicrohttpd: with the hundred and twenty libraries below them, it
# would take 30 ms in place of 2.
command -v ldd >/dev/null || { echo "skip: no ldd" >&2; exit 77; }
ldd "$LX" >libraries && ! grep -E 'libvips|libgit2|libmicrohttpd' libraries
