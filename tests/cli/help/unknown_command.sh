"$LX" hepl
echo $?
"$LX" nothing-like-it
