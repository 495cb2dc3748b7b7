# Bytes that were cut off stay gone, also when the file has been on the device and out of memory meanwhile.
# groups: data truncate
python3 -c '
import os
fd = os.open("f", os.O_RDWR | os.O_CREAT); os.write(fd, b"z" * 9000); os.fsync(fd)
os.ftruncate(fd, 5001); os.ftruncate(fd, 9000); os.fsync(fd)
os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
print(os.pread(fd, 9000, 0) == b"z" * 5001 + b"\0" * 3999)'
