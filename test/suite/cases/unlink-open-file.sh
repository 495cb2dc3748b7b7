# An unlinked file lives as long as it is open, and can be written and truncated.
# groups: unlink
exec 3<>f
echo hello >&3
rm f; ls
stat -L -c '%h %s' /proc/self/fd/3
truncate -s 3 /proc/self/fd/3
stat -L -c '%h %s' /proc/self/fd/3
python3 -c 'import os; print(os.pread(3, 10, 0))'
