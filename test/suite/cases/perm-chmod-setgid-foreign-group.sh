# chmod by an owner who is not in the file's group drops setgid.
# groups: perm
python3 - <<'PY'
from lib import *
needs_root()
os.chmod('.', 0o755); put('f'); os.chown('f', 12345, 777); os.mkdir('d'); os.chown('d', 12345, 777)
as_user(lambda: (os.chmod('f', 0o2755), os.chmod('d', 0o2755))); print(mode('f'), mode('d')); as_user(lambda: os.chmod('f', 0o2755), groups=(777,)); print(mode('f'))
PY
