# Keys are read over, kept nowhere.
"$LX" debug flags --wandb_api_key=hidden --seed 1 >out
! grep hidden out
