#!/bin/sh
# Plants known protocol mistakes, one at a time, in a copy of the sources, and lets the simulator find each.
# Each file in sim/mutants/ is one mistake: what it is in its first line, then the patch.
#
#   sim/mutants.sh [NAME...]      all of them, or these (names without .patch)
#
# SEEDS=N   how many seeds a mistake may survive (default 20000); fails if any survives them all.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/scripts/rust.sh"
work=${CARGO_TARGET_DIR:-$root/target}/mutants
tree=$work/tree
export CARGO_TARGET_DIR="$work/build"
seeds=${SEEDS:-20000}

rm -rf "$tree"
mkdir -p "$tree"
(cd "$root" && git ls-files -z | tar --null -T - -cf -) | tar -C "$tree" -xf -
cd "$tree"

if [ $# -eq 0 ]; then
    for file in sim/mutants/*.patch; do
        name=${file##*/}
        set -- "$@" "${name%.patch}"
    done
fi

total=0
survived=
for name; do
    file=$root/sim/mutants/$name.patch
    total=$((total + 1))
    if ! patch -s -p1 --no-backup-if-mismatch <"$file" >"$work/log" 2>&1; then
        echo "$name: the patch does not apply any more"
        cat "$work/log"
        exit 1
    fi
    if ! cargo build -q --profile mutant -p ticketd-sim --bin ticketd-sim >"$work/log" 2>&1; then
        echo "$name: does not build"
        cat "$work/log"
        exit 1
    fi
    if "$CARGO_TARGET_DIR/mutant/ticketd-sim" --seeds "$seeds" --first --no-shrink >"$work/log" 2>&1; then
        echo "SURVIVED  $name: $(head -n 1 "$file")"
        survived="$survived $name"
    else
        runs=$(sed -n 's/^\([0-9]*\) runs, .*/\1/p' "$work/log")
        echo "caught    $name, after $runs runs: $(sed -n '2p' "$work/log" | cut -c 1-100)"
    fi
    patch -s -R -p1 --no-backup-if-mismatch <"$file"
done

if [ -n "$survived" ]; then
    echo "of $total mistakes, these survived:$survived"
    exit 1
fi
echo "all of $total mistakes caught"
