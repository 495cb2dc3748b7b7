# Which of atime, mtime and ctime each operation changes.
# groups: times
python3 - <<'PY'
from lib import *
put('f', 'x'); os.mkdir('d'); fd = os.open('f', os.O_RDWR); os.symlink('f', 's')
print('file', changes('f', lambda: os.pwrite(fd, b'y', 0), lambda: os.chmod('f', 0o600), lambda: os.chown('f', -1, -1), lambda: os.utime('f', ns=(10**18, 10**18)), lambda: os.stat('f'), lambda: os.link('f', 'l'), lambda: os.rename('l', 'm'), lambda: os.unlink('m'), lambda: os.fsync(fd)))
print('directory', changes('d', lambda: put('d/f'), lambda: put('d/f', 'x'), lambda: os.chmod('d/f', 0), lambda: os.rename('d/f', 'd/g'), lambda: os.unlink('d/g'), lambda: os.mkdir('d/e'), lambda: os.rmdir('d/e'), lambda: os.symlink('x', 'd/s'), lambda: os.rename('d/s', 't')))
PY
