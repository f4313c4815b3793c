# Steps that are told in any order: lx show draws the whole curve, over all of them.
printf 'step=3 loss=3\nstep=1 loss=1\nstep=2 loss=2\n' | "$LX" log --new x - >id
"$LX" show x | sed -n '/^  loss/,$p'
