# The commands that compute start once more with libgomp's spinning cut short (cmd/waiting.h): words,
# standard input and exit status are those of the first start, and who has decided is left alone.
unset OMP_WAIT_POLICY GOMP_SPINCOUNT
"$LX" debug flags --output_name "a  b" --training_comment "it's \$HOME" --seed 7 |
    grep -o '"output_name":"[^"]*"\|"training_comment":"[^"]*"' | sort -u
echo '"1girl"' | "$LX" debug tokens | cut -c1-24
"$LX" train --no_such_flag
echo $?
"$LX" sample
echo $?
