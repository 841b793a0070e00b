#!/bin/sh
# Installs the clients that are missing: Debian packages (as root), and Python's in an environment of their own in
# $1, which is to be a directory below the build's.
set -eu
environment=$1
missing=
need() { command -v "$1" >/dev/null || missing="$missing $2"; }
need curl curl
need wget wget
need nc netcat-openbsd
need ab apache2-utils
need wrk wrk
need h2load nghttp2-client
need node nodejs
need java default-jre-headless
need python3 python3
need promtool prometheus
need ruby ruby
need php php-cli
[ -x /usr/sbin/haproxy ] || need haproxy haproxy
[ -x /usr/sbin/nginx ] || need nginx nginx-light
# The single-file mode of java(1) needs the compiler as well.
if command -v java >/dev/null && ! java --list-modules | grep -q '^jdk.compiler'; then
    missing="$missing default-jdk-headless"
fi
php -m 2>/dev/null | grep -qx curl || missing="$missing php-curl"
perl -e 'require LWP::UserAgent' 2>/dev/null || missing="$missing libwww-perl"
if [ -n "$missing" ]; then
    # shellcheck disable=SC2086
    apt-get install -y --no-install-recommends $missing || {
        apt-get update
        # shellcheck disable=SC2086
        apt-get install -y --no-install-recommends $missing
    }
fi
if ! [ -x "$environment/bin/http" ]; then
    python3 -m venv "$environment" || {
        apt-get install -y --no-install-recommends python3-venv
        python3 -m venv "$environment"
    }
    "$environment/bin/pip" install --quiet requests urllib3 httpx aiohttp httpie
fi
