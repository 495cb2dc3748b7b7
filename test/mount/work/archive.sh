# 10,000 files with every kind of attribute into an archive and out of it: nothing may differ.
mkdir tree && cd tree
for d in $(seq 1 100); do
  mkdir -p "a$((d % 10))/d$d"
  for f in $(seq 1 99); do printf '%s/%s %0*d\n' "$d" "$f" $((f * d % 300 + 1)) 7 >"a$((d % 10))/d$d/f$f"; done
done
head -c 3000000 /dev/urandom >big
truncate -s 50M sparse && printf 'in the middle' | dd of=sparse bs=1 seek=20000000 conv=notrunc status=none
ln a1/d1/f1 hard && ln big a2/big && ln -s a1/d1/f2 soft && ln -s nowhere dangling && mkfifo pipe
chmod 751 a3 && chmod 4711 a1/d1/f3 && chmod 400 a1/d1/f4 && chmod 1777 a4 && chmod 2755 a5
touch -d '2001-02-03 04:05:06.789012345' a1/d1/f5 && touch -d '1969-12-31 23:00:00 UTC' a1/d1/f6 && touch -h -d '2010-10-10' soft
for i in $(seq 10 30); do setfattr -n "user.key$i" -v "value $i" "a1/d11/f$i"; done
setfattr -n user.big -v "$(head -c 1500 /dev/zero | tr '\0' x)" a1/d11/f31 && setfattr -n user.of.dir -v d a3
acls=
if setfacl -m u:1234:rw,g:5:r a1/d21/f1 2>/dev/null; then setfacl -d -m u:77:rx a6 && acls=A; fi
if [ "$(id -u)" = 0 ]; then
  chown 12:34 a1/d1/f5 && chown -h 56:78 soft && mknod null c 1 3 && mknod disk b 7 200 && chown 1000:1000 a7
  chmod 0 a1/d1/f5 && setfattr -n trusted.key -v t a1/d31/f1
fi
touch -d '2005-05-05 05:05:05.5' a1 .
cd ..
[ "$(find tree -type f | wc -l)" -ge 9900 ]
tar --format=posix --xattrs --xattrs-include='*' --acls --sparse -cf archive tree 2>/dev/null
mkdir out
tar --xattrs --xattrs-include='*' --acls -xpf archive -C out
rsync "-aHX$acls" --checksum --dry-run -i --delete tree/ out/tree/
list() { (cd "$1" && find . -printf '%P %y %m %U %G %T@ %l\n' | sort && find . -type f -perm -400 -print0 | sort -z | xargs -0 sha256sum); }
list tree >tree.list && list out/tree >out.list && cmp tree.list out.list
rsync "-aHX$acls" tree/ out/again/
rsync "-aHX$acls" --checksum --dry-run -i --delete out/tree/ out/again/
cp -a tree out/copied && list out/copied | cmp - tree.list
find . -name hard -printf '%n\n' | sort -u
rm -rf tree out archive tree.list out.list
