# A set with every fault in it: each is found, in the file that has it.
. "$SOURCE/tests/support/faulty_set.sh"
check() { "$LX" data check "$@" --resolution 128 --enable_bucket --min_bucket_reso 64 --max_bucket_reso 256; }
check img --reg_data_dir reg >report
echo $?
# Without --all five of a kind are shown, and how many more there are.
check img --reg_data_dir reg --all | sed -n 's/^\(error\|warning\|note\): /&/p' | sort | uniq -c | sed 's/^ *//'
sed -n '/^folder/,$p' report
check img --all --reg_data_dir reg | grep -A 2 -E '^(error: (caption-trap|encoding)|warning: (cut|reg-dup|near))'
