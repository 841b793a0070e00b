# Sourced, not run, with $root set: known mistakes, planted one at a time in a copy of the sources. Each file in
# sim/mutants/ is one, and each in model/mutants/, which the simulator is not asked to find: what it is in its first
# line, then the patch.
#
#   copy_sources DIR       into target/DIR, where $work then is, and goes there
#   plant NAME PACKAGE     plants one and builds the package; ends the script where that does not work
#   uproot                 takes it out again
#   survived NAME WHERE    it was not found
#   sum_up                 fails where any survived

copy_sources() {
    work=${CARGO_TARGET_DIR:-$root/target}/$1
    export CARGO_TARGET_DIR="$work/build"
    total=0
    survivors=
    command -v patch >/dev/null || { echo "patch(1) plants the mistakes: install it, then run this again"; exit 1; }
    rm -rf "$work/tree"
    mkdir -p "$work/tree"
    # As new as now (-m): a source that was changed while an earlier run was building is older than what that built.
    (cd "$root" && git ls-files -z | tar --null -T - -cf -) | tar -C "$work/tree" -xmf -
    cd "$work/tree"
}

plant() {
    patch=$root/sim/mutants/$1.patch
    [ -f "$patch" ] || patch=$root/model/mutants/$1.patch
    total=$((total + 1))
    if ! patch -s -p1 --fuzz=0 --no-backup-if-mismatch <"$patch" >"$work/log" 2>&1; then
        echo "$1: the patch does not apply any more"
        cat "$work/log"
        exit 1
    fi
    if ! cargo build -q --profile mutant -p "$2" >"$work/log" 2>&1; then
        echo "$1: does not build"
        cat "$work/log"
        exit 1
    fi
}

uproot() {
    patch -s -R -p1 --no-backup-if-mismatch <"$patch"
}

survived() {
    echo "SURVIVED  $1$2: $(head -n 1 "$patch")"
    survivors="$survivors $1"
}

sum_up() {
    if [ -n "$survivors" ]; then
        echo "of $total mistakes, these survived:$survivors"
        exit 1
    fi
    echo "all of $total mistakes caught"
}
