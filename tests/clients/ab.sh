#!/bin/sh
# ApacheBench: HTTP/1.0, with keep-alive. It prints no answers, so it is judged by its own counts.
set -eu
command -v ab >/dev/null || exit 77
: >"${TMPDIR:-/tmp}/ticketd-ab-$$"
trap 'rm -f "${TMPDIR:-/tmp}/ticketd-ab-$$"' EXIT
for keep in '' -k; do
    # shellcheck disable=SC2086
    ab -q -l $keep -n 500 -c 8 -T text/plain -p "${TMPDIR:-/tmp}/ticketd-ab-$$" "$LEADER/" |
        awk '/^Complete requests:/ { n = $3 } /^Failed requests:/ { f = $3 } /^Non-2xx/ { bad = $3 }
             END { exit !(n == 500 && f == 0 && bad == 0) }'
done
