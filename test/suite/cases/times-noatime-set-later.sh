# O_NOATIME holds for listings as well, and from the moment fcntl(F_SETFL) sets it until that takes it away.
# groups: times
python3 - <<'PY'
from lib import *
def old(name): os.utime(name, ns=(10**9, os.stat(name).st_mtime_ns))
def moved(name): return os.stat(name).st_atime_ns > 10**18
os.mkdir('d'); put('d/a'); put('f', 'x' * 10); put('g', 'x' * 10)
old('d'); fd = os.open('d', os.O_RDONLY | os.O_NOATIME); os.listdir(fd); print('listed', moved('d'))
put('d/c'); fcntl.fcntl(fd, fcntl.F_SETFL, 0); os.lseek(fd, 0, 0); os.listdir(fd); print('listed without it', moved('d'))
put('d/b'); old('d'); fd = os.open('d', os.O_RDONLY); fcntl.fcntl(fd, fcntl.F_SETFL, os.O_NOATIME); os.listdir(fd); print('listed', moved('d'))
fd = os.open('f', os.O_RDONLY); old('f'); fcntl.fcntl(fd, fcntl.F_SETFL, os.O_NOATIME); os.read(fd, 5); print('read', moved('f'))
PY
