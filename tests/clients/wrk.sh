#!/bin/sh
# wrk, with and without pipelining. It prints no answers, so it is judged by its own counts.
set -eu
command -v wrk >/dev/null || exit 77
script=${TMPDIR:-/tmp}/ticketd-wrk-$$.lua
trap 'rm -f "$script"' EXIT
judge() {
    awk '/requests in/ { n = $1 } /Socket errors|Non-2xx/ { print > "/dev/stderr"; bad = 1 }
         END { exit !(n > 0 && !bad) }'
}
echo 'wrk.method = "POST"' >"$script"
wrk -t1 -c8 -d1s -s "$script" "$LEADER/" | judge
cat >"$script" <<'LUA'
wrk.method = "POST"
init = function() local r = {} for i = 1, 16 do r[i] = wrk.format() end all = table.concat(r) end
request = function() return all end
LUA
wrk -t1 -c8 -d1s -s "$script" "$LEADER/" | judge
