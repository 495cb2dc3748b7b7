# What was cut off does not come back when a file grows again.
# groups: data truncate
echo 0123456789 >f; truncate -s 4 f; truncate -s 8 f; od -An -c f | tr -s ' '
python3 -c '
import os
fd = os.open("g", os.O_RDWR | os.O_CREAT); os.write(fd, b"z" * 10000); os.ftruncate(fd, 5000); os.ftruncate(fd, 10000)
print(os.pread(fd, 10000, 0) == b"z" * 5000 + b"\0" * 5000)'
