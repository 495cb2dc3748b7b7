# 100,000 rows in WAL mode through a mapping, read by another process meanwhile; then a rollback journal, a large deletion and a vacuum.
sqlite3 db 'PRAGMA journal_mode=WAL; CREATE TABLE t(a INTEGER PRIMARY KEY, b);' >/dev/null
(for i in $(seq 1 20); do sqlite3 -cmd '.timeout 60000' db 'PRAGMA mmap_size=268435456; SELECT count(*) % 10000 FROM t;' | tail -n 1; done | sort -u >seen) &
for part in 0 1 2 3 4 5 6 7 8 9; do
  sqlite3 -cmd '.timeout 60000' db "PRAGMA mmap_size=268435456; INSERT INTO t SELECT value, hex(randomblob(16)) FROM generate_series($part * 10000 + 1, $part * 10000 + 10000);" >/dev/null
done
wait
# A reader sees whole transactions only.
[ "$(cat seen)" = 0 ]
check() { sqlite3 -cmd '.timeout 60000' db 'PRAGMA mmap_size=268435456; PRAGMA integrity_check; SELECT count(*) FROM t;' | tail -n 2 | tr '\n' ' '; }
[ "$(check)" = 'ok 100000 ' ]
sqlite3 db 'PRAGMA mmap_size=268435456; CREATE INDEX i ON t(b); UPDATE t SET b = b || a WHERE a % 3 = 0;' >/dev/null
[ "$(check)" = 'ok 100000 ' ]
sqlite3 db 'PRAGMA journal_mode=DELETE; DELETE FROM t WHERE a % 2 = 0; VACUUM;' >/dev/null
[ "$(check)" = 'ok 50000 ' ] && [ ! -e db-wal ] && [ ! -e db-journal ]
rm db seen
