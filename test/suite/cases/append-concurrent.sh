# Appends of several processes do not overwrite each other.
# groups: data race
for p in 1 2 3 4; do (for i in $(seq 1 100); do echo "$p $i" >>f; done) & done; wait
wc -l <f; sort -u f | wc -l
