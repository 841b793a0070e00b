#!/bin/sh
# Makes sure that there is what fuzzing needs besides what the build does: a C++ compiler, for libFuzzer. Says nothing
# where nothing is missing.
set -eu
command -v c++ >/dev/null 2>&1 && exit 0
echo 'fuzz: installing g++'
as_root=
[ "$(id -u)" -eq 0 ] || as_root=sudo
{
    $as_root apt-get update -qq &&
        $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends g++ >/dev/null
} || {
    echo 'fuzz: libFuzzer needs a C++ compiler: install one (g++ or clang++, as c++), then run this again' >&2
    exit 1
}
