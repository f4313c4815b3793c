# What was recorded as a text is shown as it stands, also where it looks like a number.
printf '#!/bin/sh\n' >train_network.py && chmod +x train_network.py || exit
for name in 1.10 1.1 1e5 007; do
    "$LX" run -q -- ./train_network.py --output_name $name --learning_rate 1e-4 --network_dim 4 >/dev/null || exit
done
"$LX" runs --sort started --columns output_name,learning_rate,dim --csv
"$LX" runs 'learning_rate < 0.001' --columns output_name --csv | wc -l
