# BSD locks: exclusive, shared, and a blocking one that a signal ends.
# groups: locks
flock -x f -c 'flock -n -x f -c true || echo refused'
flock -s f -c 'flock -n -s f -c "echo shared"'
flock -x f -c 'timeout 1 flock -x f -c true; echo $?'
flock -x f -c 'sleep 0.5' & sleep 0.2; flock -x f -c 'echo got it'; wait
