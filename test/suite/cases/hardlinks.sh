# Link counts follow links, and a directory cannot be linked.
# groups: link
echo data >a; ln a b; ln b c
stat -c %h a; rm a; stat -c %h b; cat c
mkdir d; python3 -c '
import os, errno
try: os.link("d", "e")
except OSError as e: print(errno.errorcode[e.errno])'
stat -c %h d; mkdir d/x d/y; stat -c %h d; rmdir d/x; stat -c %h d
