#!/bin/sh
# Plants known protocol mistakes, one at a time, in a copy of the sources, and lets the explorer find each. Which, and
# where it must be found, is in model/mutants.txt; the patches are those of the simulator, in sim/mutants/.
#
#   model/mutants.sh [NAME...]      all of them, or these
#
# STATES=N   how many states a mistake may survive (default 2500000); fails if any survives them all.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/scripts/rust.sh"
work=${CARGO_TARGET_DIR:-$root/target}/model-mutants
tree=$work/tree
export CARGO_TARGET_DIR="$work/build"
states=${STATES:-2500000}

rm -rf "$tree"
mkdir -p "$tree"
(cd "$root" && git ls-files -z | tar --null -T - -cf -) | tar -C "$tree" -xf -
cd "$tree"

if [ $# -eq 0 ]; then
    # shellcheck disable=SC2046
    set -- $(awk '!/^#/ { print $1 }' model/mutants.txt)
fi

total=0
survived=
for name; do
    file=$root/sim/mutants/$name.patch
    configuration=$(awk -v name="$name" '$1 == name { print $2 }' model/mutants.txt)
    if [ -z "$configuration" ]; then
        echo "$name is not in model/mutants.txt"
        exit 2
    fi
    total=$((total + 1))
    if ! patch -s -p1 --no-backup-if-mismatch <"$file" >"$work/log" 2>&1; then
        echo "$name: the patch does not apply any more"
        cat "$work/log"
        exit 1
    fi
    if ! cargo build -q --profile mutant -p ticketd-model >"$work/log" 2>&1; then
        echo "$name: does not build"
        cat "$work/log"
        exit 1
    fi
    status=0
    "$CARGO_TARGET_DIR/mutant/ticketd-model" --states "$states" "$configuration" >"$work/log" 2>&1 || status=$?
    # 1 is a violation found; anything else is none, or an explorer that broke.
    if [ "$status" -eq 1 ]; then
        steps=$(grep -c '^ *[0-9]*\. ' "$work/log")
        echo "caught    $name by $configuration in $steps steps: $(tail -n 1 "$work/log" | cut -c 1-110)"
    else
        echo "SURVIVED  $name in $configuration: $(head -n 1 "$file")"
        survived="$survived $name"
    fi
    patch -s -R -p1 --no-backup-if-mismatch <"$file"
done

if [ -n "$survived" ]; then
    echo "of $total mistakes, these survived:$survived"
    exit 1
fi
echo "all of $total mistakes caught"
