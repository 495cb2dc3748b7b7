# chmod changes the mask; an ACL that says no more than the mode is not kept.
# groups: acl perm
python3 - <<'PY'
from lib import *
put('f'); acl('f', (1, -1, 6), (2, 77, 7), (4, -1, 4), (16, -1, 7), (32, -1, 4)); print(mode('f')); os.chmod('f', 0o611); print(acl_of('f'), mode('f')); acl('f', (1, -1, 6), (4, -1, 4), (32, -1, 0)); print(acl_of('f'), mode('f'))
PY
