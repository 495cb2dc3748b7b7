# A name for a descriptor: given, refused once the last name is gone.
# groups: link
python3 - <<'PY'
from lib import *
put('f', 'x'); fd = os.open('f', os.O_RDONLY)
print(err(linkat, fd, 'g'), os.fstat(fd).st_nlink); os.unlink('f'); os.unlink('g'); print(err(linkat, fd, 'h'))
PY
