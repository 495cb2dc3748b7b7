# Two processes exchange the same pair: after an even number all is as before.
# groups: rename race
python3 - <<'PY'
from lib import *
put('a', 'A'); put('b', 'B')
print(together([lambda: [renameat2('a', 'b', EXCHANGE) for i in range(100)]] * 4), get('a'), get('b'))
PY
