#!/bin/sh
# A raw connection, as by nc: requests in one piece, answers in order.
set -eu
command -v nc >/dev/null || exit 77
address=${LEADER#http://}
host=${address%:*} port=${address##*:}
request="POST / HTTP/1.1\r\nHost: $address\r\n"
{
    for _ in $(seq 20); do printf "$request\r\n"; done
    printf "${request}Connection: close\r\n\r\n"
} | nc "$host" "$port" | tr '\r' '\n' | awk '
    /^HTTP\/1.1 200/ { body = 0 }
    # The content has no line end of its own: the next status line follows at once.
    { sub(/HTTP\/1.1 .*/, "") }
    /^[0-9]+$/ { print }'
