# O_TMPFILE: a file without a name, and one given to it.
# groups: create
python3 - <<'PY'
import ctypes, os
fd = os.open('.', os.O_TMPFILE | os.O_RDWR, 0o600); os.write(fd, b'nameless')
print(os.listdir('.'), os.fstat(fd).st_nlink)
AT_FDCWD, AT_SYMLINK_FOLLOW = -100, 0x400
print(ctypes.CDLL(None).linkat(AT_FDCWD, f'/proc/self/fd/{fd}'.encode(), AT_FDCWD, b'named', AT_SYMLINK_FOLLOW))
print(os.listdir('.'), os.fstat(fd).st_nlink, open('named').read())
PY
