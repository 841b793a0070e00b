#!/bin/sh
# Plants known mistakes, one at a time, in a copy of the sources, and lets the explorer find each. Which, and where it
# must be found, is in model/mutants.txt; the patches are those of the simulator, in sim/mutants/, and those of the
# explorer alone, in model/mutants/.
#
#   model/mutants.sh [NAME...]      all of them, or these
#
# STATES=N   how many states a mistake may survive (default 2500000); fails if any survives them all.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/scripts/rust.sh"
. "$root/scripts/mutants.sh"
copy_sources model-mutants

if [ $# -eq 0 ]; then
    # shellcheck disable=SC2046
    set -- $(awk '!/^#/ { print $1 }' model/mutants.txt)
fi

for name; do
    configuration=$(awk -v name="$name" '$1 == name { print $2 }' model/mutants.txt)
    if [ -z "$configuration" ]; then
        echo "$name is not in model/mutants.txt"
        exit 2
    fi
    plant "$name" ticketd-model
    status=0
    "$CARGO_TARGET_DIR/mutant/ticketd-model" --states "${STATES:-2500000}" "$configuration" >"$work/log" 2>&1 ||
        status=$?
    # 1 is a violation found; anything else is none, or an explorer that broke.
    if [ "$status" -eq 1 ]; then
        steps=$(grep -c '^ *[0-9]*\. ' "$work/log")
        echo "caught    $name by $configuration in $steps steps: $(tail -n 1 "$work/log" | cut -c 1-110)"
    else
        survived "$name" " in $configuration"
    fi
    uproot
done
sum_up
