# Sparse copies, preallocation, holes and zeroes: what du, cmp and stat say of them.
kib() { du -k "$1" | cut -f1; }
truncate -s 1T big && echo end >>big
[ "$(kib big)" -lt 100 ] && [ "$(tail -c 4 big)" = end ]
truncate -s 200M source && for i in 3 77 150; do printf 'data at %s' "$i" | dd of=source bs=1M seek="$i" conv=notrunc status=none; done
cp --sparse=always source sparse && cmp source sparse && [ "$(kib sparse)" -lt 100 ]
head -c 20M /dev/zero >zeroes && cp --sparse=always zeroes holes && cmp zeroes holes && [ "$(kib holes)" -lt 100 ] && [ "$(kib zeroes)" -ge 20480 ]
cp --sparse=never holes full && [ "$(kib full)" -ge 20480 ] && cmp zeroes full
rm big source sparse zeroes holes full

head -c 1M /dev/urandom >f && cp f was
fallocate --keep-size -o 1M -l 8M f && [ "$(stat -c %s f)" = 1048576 ] && [ "$(kib f)" -ge 9216 ] && cmp f was
fallocate -l 4M f && [ "$(stat -c %s f)" = 4194304 ] && cmp -n 1048576 f was && cmp -i 1048576:0 -n 3145728 f /dev/zero
fallocate --punch-hole -o 100000 -l 500000 f && [ "$(stat -c %s f)" = 4194304 ]
cmp -n 100000 f was && cmp -i 100000:0 -n 500000 f /dev/zero && cmp -i 600000 -n 448576 f was
before=$(kib f) && fallocate --punch-hole -o 1M -l 2M f && [ "$(kib f)" -le $((before - 2048)) ]
fallocate --zero-range -o 700000 -l 5000000 f && [ "$(stat -c %s f)" = 5700000 ] && cmp -i 600000 -n 100000 f was && cmp -i 700000:0 -n 5000000 f /dev/zero
fallocate --zero-range --keep-size -o 5000000 -l 5000000 f && [ "$(stat -c %s f)" = 5700000 ]
fallocate --dig-holes f && cmp -n 100000 f was && [ "$(stat -c %s f)" = 5700000 ]
rm f was
