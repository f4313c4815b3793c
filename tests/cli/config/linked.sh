# A user's file that is a link stays one: what it leads to is changed.
mkdir -p dots conf/lx
export XDG_CONFIG_HOME=$PWD/conf
echo '# mine' >dots/config
ln -s ../../dots/config conf/lx/config
"$LX" config set train.threads 3
stat -c %F conf/lx/config
cat dots/config
# a project's is written where it lies
mkdir .lx
echo '# other' >other
ln -s ../other .lx/config
"$LX" config set train.threads 2 --project
stat -c %F .lx/config
cat other
