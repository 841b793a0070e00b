#!/bin/sh
# HTTPie follows as Python's requests does: GET after a 301.
set -eu
command -v http >/dev/null && http --version >/dev/null 2>&1 || exit 77
take() { http --ignore-stdin --check-status --body --pretty=none "$@"; echo; }
case $REDIRECT in
301) location=$(http --ignore-stdin --headers POST "$FOLLOWER/" | tr -d '\r' | sed -n 's/^Location: //p')
    take POST "$location" ;;
*) take --follow POST "$FOLLOWER/" ;;
esac
for _ in 1 2 3; do take POST "$LEADER/"; done
take POST "$LEADER/?n=3"
