#!/bin/bash
# Runs a cluster of three on this machine, takes a few IDs from it, and keeps it up until Ctrl-C. The stores stay:
# the next run goes on where this one ended.
#
#   CLUSTER    directory of the stores and logs (./cluster)
#   RAFT_PORT  the first of three ports for the nodes (9001); only when a store is made
#   HTTP_PORT  the first of three ports for clients (8001); only when a store is made
set -euo pipefail
# Each node gets a process group of its own, so that Ctrl-C reaches this script alone, and the nodes get one
# signal and not two: a second would end them at once.
set -m

cd "$(dirname "$0")/.."
here=$PWD
raft_port=${RAFT_PORT:-9001}
http_port=${HTTP_PORT:-8001}
directory=${CLUSTER:-cluster}
ticketd=${CARGO_TARGET_DIR:-target}/release/ticketd
nodes='1 2 3'
declare -A pid

say() {
    printf '%s\n' "$*"
}

fail() {
    say "cluster: $*" >&2
    exit 1
}

alive() {
    [ -n "${pid[$1]:-}" ] && kill -0 "${pid[$1]}" 2>/dev/null
}

stop() {
    trap '' INT TERM HUP
    trap - EXIT
    local n
    for n in $nodes; do
        if alive "$n"; then kill -TERM "${pid[$n]}" 2>/dev/null || true; fi
    done
    for n in $nodes; do
        for _ in $(seq 150); do
            alive "$n" || break
            sleep 0.1
        done
        if alive "$n"; then
            say "cluster: node $n does not stop, ending it" >&2
            kill -KILL "${pid[$n]}" 2>/dev/null || true
        fi
    done
}

on_signal() {
    say
    say 'stopping the three nodes'
    stop
    say "stopped; 'make cluster' goes on with the same stores, 'rm -r $directory' forgets them"
    exit 0
}
trap on_signal INT TERM HUP
trap stop EXIT

# Starts node $1 with the arguments that follow, and waits until it listens.
launch() {
    local n=$1 log=$directory/$1.log
    shift
    say "\$ $ticketd $*"
    "$ticketd" "$@" </dev/null >"$log" 2>&1 &
    pid[$n]=$!
    # No word from bash itself where the node is killed: the loop below says it.
    disown
    local tries=0
    until grep -qs 'listening ' "$log"; do
        alive "$n" || fail "node $n did not start:
  $(tail -n 1 "$log")
  (all it said is in $log; 'make cluster RAFT_PORT=9101 HTTP_PORT=8101 CLUSTER=other' makes a cluster elsewhere)"
        tries=$((tries + 1))
        [ $tries -lt 600 ] || fail "node $n has not come to listen within a minute; its log is $log"
        sleep 0.1
    done
}

# The client address of node $1, as it says in its log.
client_address() {
    sed -n 's/.*listening .*clients=\([^ ]*\).*/\1/p' "$directory/$1.log" | tail -n 1
}

request() {
    curl --noproxy '*' --silent --show-error --max-time 10 "$@"
}

mkdir -p "$directory"
[ -x "$ticketd" ] || fail "there is no $ticketd: run 'make build'"

for n in $nodes; do
    path=$directory/$n
    raft=$((raft_port + n - 1))
    http=$((http_port + n - 1))
    if [ -e "$directory/$n.is_member" ]; then
        launch "$n" --path "$path"
    elif [ "$n" = 1 ]; then
        launch "$n" start --path "$path" --id 1 --raft_port "$raft" --http_port "$http"
        touch "$directory/$n.is_member"
    else
        # One that was interrupted half-way is taken up again by the same command.
        launch "$n" join "127.0.0.1:$raft_port" --path "$path" --id "$n" --raft_port "$raft" --http_port "$http"
        touch "$directory/$n.is_member"
    fi
done

tries=0
until [ "$("$ticketd" status --path "$directory/1" 2>/dev/null | grep -cw voter)" = 3 ]; do
    for n in $nodes; do
        alive "$n" || fail "node $n has ended: $(tail -n 1 "$directory/$n.log")"
    done
    tries=$((tries + 1))
    [ $tries -lt 300 ] || fail "the three nodes have not all become voters; their logs are $directory/*.log"
    sleep 0.1
done
say
say 'All three are voters. Some IDs:'

# After a restart the first leader is elected in a moment.
leader=
tries=0
until [ -n "$leader" ]; do
    tries=$((tries + 1))
    [ $tries -lt 300 ] || fail "the nodes elect no leader; their logs are $directory/*.log"
    sleep 0.1
    leader=$("$ticketd" status --path "$directory/1" | sed -n 's/^leader *node //p') || true
done
follower=$((leader % 3 + 1))
leader=$(client_address "$leader")
follower=$(client_address "$follower")

for _ in 1 2 3; do
    say "\$ curl -w '\\n' -X POST http://$leader/"
    request -w '\n' -X POST "http://$leader/"
done
say "\$ curl -w '\\n' -L -X POST http://$follower/        (a follower: it redirects to the leader)"
request -w '\n' -L -X POST "http://$follower/"

say
say 'Next, in another terminal:'
say "  curl -w '\\n' -X POST http://$leader/"
say "  $ticketd status --path $directory/1"
say "  $ticketd transfer --path $directory/1"
say "  kill -9 ${pid[1]}                    (node 1; the others go on)"
say "  $ticketd --path $directory/1      (and back again; this one is yours to stop)"
say
say "The logs are $directory/*.log. Ctrl-C stops the cluster."

while :; do
    for n in $nodes; do
        if [ -n "${pid[$n]:-}" ] && ! alive "$n"; then
            say "node $n has ended; '$ticketd --path $directory/$n' starts it again"
            unset "pid[$n]"
        fi
    done
    # In the background, so that a signal is acted upon at once.
    sleep 1 &
    wait $! || true
done
