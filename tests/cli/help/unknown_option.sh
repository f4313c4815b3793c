"$LX" help --stoer x
echo $?
"$LX" help --st
echo $?
"$LX" help --quiet=yes
echo $?
"$LX" -Z
