# The flags of chattr: what they forbid, who may set them, that setting them is a change of the inode.
[ "$(id -u)" = 0 ] || { echo 'needs root'; exit 77; }
say() { "$@" 2>&1 | sed -E 's/^(bash: line [0-9]+|[a-z]+): //'; }
echo one >f; stat -c %z f >../before.$$; sleep 0.05
chattr +d f; stat -c %z f | cmp -s - ../before.$$ || echo 'ctime has moved'
rm ../before.$$; lsattr f | cut -c1-7
chattr -d +a f; echo two >>f; cat f
say sh -c 'echo three >f' | grep -o 'Operation not permitted'
say truncate -s 0 f | grep -o 'Operation not permitted'; say rm f | grep -o 'Operation not permitted'
say mv f g | grep -o 'Operation not permitted'; say ln f g | grep -o 'Operation not permitted'
chattr -a +i f
say sh -c 'echo three >>f' | grep -o 'Operation not permitted'; say chmod 600 f | grep -o 'Operation not permitted'
say touch f | grep -o 'Operation not permitted'; say setfattr -n user.a -v b f | grep -o 'Operation not permitted'
cat f; chattr -i f; rm f; ls
mkdir d; touch d/old; chattr +a d; touch d/new && ls d; say rm d/old | grep -o 'Operation not permitted'
chattr -a +i d; say touch d/newer | grep -o 'No such file\|Operation not permitted'; chattr -i d; rm -r d
