# What is written through a shared mapping is in the file, and the other way round.
# groups: mmap data
python3 - <<'PY'
import mmap, os
fd = os.open('f', os.O_RDWR | os.O_CREAT); os.ftruncate(fd, 8192)
m = mmap.mmap(fd, 8192); m[0:5] = b'hello'; m[4096:4101] = b'world'; m.flush()
print(os.pread(fd, 5, 0), os.pread(fd, 5, 4096))
os.pwrite(fd, b'HELLO', 0); print(m[0:5]); m.close()
PY
