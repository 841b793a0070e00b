#!/bin/sh
# h2load speaks HTTP/1.1 with --h1, and pipelines with -m. It prints no answers, so it is judged by its own counts.
set -eu
command -v h2load >/dev/null || exit 77
body=${TMPDIR:-/tmp}/ticketd-h2load-$$
trap 'rm -f "$body"' EXIT
: >"$body"
for streams in 1 16; do
    h2load --h1 -n 1000 -c 8 -m "$streams" -H ':method: POST' "$LEADER/" |
        awk '/^status codes:/ { ok = $3 } END { exit !(ok == 1000) }'
done
