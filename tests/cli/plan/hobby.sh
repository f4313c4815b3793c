# A hobbyist's folders with everything that is odd about them, term by term.
cd "$LX_GOLDENS/data/dataset" 2>/dev/null || { echo "skip: no goldens at $LX_GOLDENS" >&2; exit 77; }
[ -d tree/hobby ] || { echo "skip: no tree at $LX_GOLDENS" >&2; exit 77; }
"$LX" plan --train_data_dir tree/hobby/train --reg_data_dir tree/hobby/reg --resolution 512,512 \
    --enable_bucket --caption_extension .txt --train_batch_size 3 \
    --gradient_accumulation_steps 2 --max_train_epochs 3 --learning_rate 1e-4 --network_alpha 4
