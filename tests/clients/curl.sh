#!/bin/sh
# curl: with 301 it keeps POST only if -X says so; -L alone would send GET.
set -eu
command -v curl >/dev/null || exit 77
take() { curl -sS --fail "$@"; echo; }
case $REDIRECT in
301) take -L -X POST "$FOLLOWER/"
    # Without -X, the 405 says what to do.
    curl -s -L -d '' "$FOLLOWER/" | grep -q 'curl -L -X POST' ;;
*) take -L -d '' "$FOLLOWER/" ;;
esac
# Several URLs in one call go over one connection.
urls=$(for _ in $(seq 20); do echo "$LEADER/"; done)
# shellcheck disable=SC2086
curl -sS --fail -X POST -w '\n' $urls
take -X POST "$LEADER/?n=3"
# A body, one of unknown length, one that waits for 100 Continue.
take -d 'a=b' "$LEADER/"
printf abc | take -X POST -H 'Transfer-Encoding: chunked' --data-binary @- "$LEADER/"
take -d 'a=b' -H 'Expect: 100-continue' "$LEADER/"
take --http1.0 -X POST "$LEADER/"
