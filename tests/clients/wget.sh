#!/bin/sh
# wget keeps the method on 307 and 308; on 301 it sends GET after --post-data.
set -eu
command -v wget >/dev/null || exit 77
take() { wget -q -O - "$@"; echo; }
case $REDIRECT in
301) location=$(wget -q -S -O /dev/null --max-redirect=0 --post-data= "$FOLLOWER/" 2>&1 |
    sed -n 's/^ *Location: //p') || true
    take --post-data= "$location" ;;
*) take --post-data= "$FOLLOWER/" ;;
esac
for _ in $(seq 20); do take --post-data= "$LEADER/"; done
take --post-data= "$LEADER/?n=3"
