#!/bin/sh
# Makes sure that what the build and the scripts need is there: a C compiler (for LMDB), curl, and Rust. Says
# nothing where nothing is missing.
set -eu
cd "$(dirname "$0")/.."
. scripts/rust.sh

fail() {
    echo "setup: $*" >&2
    exit 1
}

have() {
    command -v "$1" >/dev/null 2>&1
}

# Runs a command as root, or fails where that cannot be had.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif have sudo; then
        sudo "$@"
    else
        return 1
    fi
}

updated=no
install_packages() {
    have apt-get || return 1
    if [ "$updated" = no ]; then
        as_root apt-get update -qq || return 1
        updated=yes
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

packages=
have cc || packages="$packages gcc libc6-dev"
have curl || packages="$packages curl ca-certificates"
if [ -n "$packages" ]; then
    echo "setup: installing$packages"
    # Each name is a word of its own.
    # shellcheck disable=SC2086
    install_packages $packages || fail "cannot install$packages: install them, then run this again"
fi

wanted=$(sed -n 's/^rust-version *= *"\(.*\)"/\1/p' Cargo.toml | head -n 1)

# Whether version $1 is at least $2, both like 1.95 or 1.95.0.
at_least() {
    [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

rust_is_there() {
    have cargo || return 1
    version=$(cargo --version 2>/dev/null | cut -d ' ' -f 2)
    [ -n "$version" ] && at_least "${version%%-*}" "$wanted"
}

rust_is_there && exit 0

if ! have rustup; then
    echo "setup: installing rustup"
    install_packages rustup 2>/dev/null || true
fi
if have rustup; then
    echo "setup: installing Rust $wanted or later with rustup"
    rustup toolchain install stable --profile minimal --component rustfmt --component clippy --no-self-update
    # A default that somebody has chosen stays what it is elsewhere.
    if rustup default >/dev/null 2>&1; then
        rustup override set stable
    else
        rustup default stable
    fi
fi
rust_is_there || fail "Rust $wanted or later is needed. Get it with
  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y
then run this again. (https://rustup.rs describes other ways.)"
