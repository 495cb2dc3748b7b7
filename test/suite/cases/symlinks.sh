# Symlinks of every length, loops, and dangling ones.
# groups: symlink
ln -s target a; readlink a; [ -e a ] || echo dangling
long=$(printf 'x%.0s' $(seq 1 4000)); ln -s "$long" b; [ "$(readlink b)" = "$long" ] && echo long
ln -s loop loop; cat loop 2>&1 | sed 's/.*: //'
stat -c '%F %s' a
