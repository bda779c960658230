#!/bin/bash
# A node of a Ray cluster that evaluates nothing, and a command beside it: beside-ray.sh HEAD:PORT COMMAND...
# When either ends, so does the other, and whoever watches over the container starts both again.
set -u
address=$1
shift
ray start --block --address="$address" --num-cpus=0 --disable-usage-stats &
node=$!
"$@" &
command=$!
trap 'kill -TERM "$command" 2>/dev/null' TERM INT
wait -n "$node" "$command"
kill -TERM "$command" 2>/dev/null
wait "$command"
status=$?
# A node says goodbye to its head, and for a minute also where there is no head any more.
kill -TERM "$node" 2>/dev/null
for _ in {1..50}; do
    kill -0 "$node" 2>/dev/null || break
    sleep 0.1
done
kill -KILL "$node" 2>/dev/null
wait "$node" 2>/dev/null
exit "$status"
