# Preallocation, keep-size, punch and zero.
# groups: fallocate data
fallocate -l 4096 probe; fallocate -z -l 4096 probe 2>/dev/null || { echo 'this filesystem cannot zero a range'; exit 77; }; rm probe
fallocate -l 65536 f; stat -c %s f
fallocate -n -l 131072 f; stat -c %s f
head -c 65536 /dev/zero | tr '\0' x >f
fallocate -p -o 4096 -l 8192 f; stat -c %s f
od -An -c -j 4094 -N 4 f | tr -s ' '; od -An -c -j 12286 -N 4 f | tr -s ' '
fallocate -z -o 60000 -l 10000 f; stat -c %s f; od -An -c -j 59998 -N 4 f | tr -s ' '
