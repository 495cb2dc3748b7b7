# Whoever may write may set the times to now, only the owner to something else.
# groups: perm times errno
python3 - <<'PY'
from lib import *
needs_root()
os.chmod('.', 0o755); put('f'); os.chmod('f', 0o666)
def body(): print(err(os.utime, 'f'), err(os.utime, 'f', (5, 5)), err(os.utime, 'f', ns=(0, 0)))
as_user(body); os.chmod('f', 0o644); as_user(body)
PY
