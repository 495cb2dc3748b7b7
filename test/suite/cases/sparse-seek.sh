# Holes read as zeroes; SEEK_DATA and SEEK_HOLE agree with what was written.
# groups: fallocate data
python3 - <<'PY'
import os, errno
fd = os.open('f', os.O_RDWR | os.O_CREAT)
os.pwrite(fd, b'a' * 4096, 0); os.pwrite(fd, b'b' * 4096, 1 << 20)
print(os.fstat(fd).st_size, os.fstat(fd).st_blocks < 100, os.pread(fd, 4, 8192))
print(os.lseek(fd, 0, os.SEEK_HOLE), os.lseek(fd, 4096, os.SEEK_DATA), os.lseek(fd, 1 << 20, os.SEEK_HOLE))
try: os.lseek(fd, 2 << 20, os.SEEK_DATA)
except OSError as e: print(errno.errorcode[e.errno])
PY
