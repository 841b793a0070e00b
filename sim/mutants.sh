#!/bin/sh
# Plants known mistakes, one at a time, in a copy of the sources, and lets the simulator find each.
#
#   sim/mutants.sh [NAME...]      all of sim/mutants/, or these (names without .patch)
#
# SEEDS=N   how many seeds a mistake may survive (default 20000); fails if any survives them all.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/scripts/rust.sh"
. "$root/scripts/mutants.sh"
copy_sources mutants

if [ $# -eq 0 ]; then
    for file in sim/mutants/*.patch; do
        name=${file##*/}
        set -- "$@" "${name%.patch}"
    done
fi

for name; do
    plant "$name" ticketd-sim
    if "$CARGO_TARGET_DIR/mutant/ticketd-sim" --seeds "${SEEDS:-20000}" --first --no-shrink >"$work/log" 2>&1; then
        survived "$name" ""
    else
        runs=$(sed -n 's/^\([0-9]*\) runs, .*/\1/p' "$work/log")
        if [ -z "$runs" ]; then
            echo "$name: the simulator ended without a word of its runs"
            cat "$work/log"
            exit 1
        fi
        echo "caught    $name, after $runs runs: $(sed -n '2p' "$work/log" | cut -c 1-100)"
    fi
    uproot
done
sum_up
