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
kill -TERM "$node" 2>/dev/null
wait "$node"
exit "$status"
