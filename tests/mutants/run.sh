#!/bin/sh
# Changes the code in small ways, one at a time, and runs the tests that should notice; docs/mutation-testing.rst
# says more. Fails where fewer than PERCENT_MIN of a hundred are noticed, or where one is not that is not listed
# there as harmless.
#
#   tests/mutants/run.sh [FILE...]      raft-core, the node and the codecs, or these files
#
# JOBS=N    how many mutants are built and tested at once (default 2)
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
. "$root/scripts/rust.sh"
cd "$root"

PERCENT_MIN=95
list=docs/mutation-testing.rst
out=${CARGO_TARGET_DIR:-$root/target}/mutants-found
# Each job copies the sources and builds there, some 500 MB: memory is the fastest place for that.
if [ -z "${TMPDIR:-}" ] && [ -w /dev/shm ]; then
    export TMPDIR=/dev/shm
fi

if ! cargo mutants --version >/dev/null 2>&1; then
    echo 'mutants: installing cargo-mutants'
    cargo install cargo-mutants --locked
fi

# Runs cargo-mutants on the files of one package that are given, if there are any.
mutate() {
    package=$1
    shift
    [ $# -gt 0 ] || return 0
    status=0
    cargo mutants --config "tests/mutants/$package.toml" --package "$package" --output "$out/$package" \
        --jobs "${JOBS:-2}" "$@" || status=$?
    case $status in
    # 2: some were missed; 3: some took too long. Both are counted below.
    0 | 2 | 3) ;;
    *) exit "$status" ;;
    esac
}

[ $# -gt 0 ] || set -- 'raft-core/src/**/*.rs' 'src/node/**/*.rs' src/codec.rs 'src/peer/**/*.rs'
core=
program=
for file; do
    case $file in
    raft-core/src/*) core="$core --file $file" ;;
    src/node/* | src/codec.rs | src/peer/*) program="$program --file $file" ;;
    *)
        echo "mutants: $file is none of raft-core/src, src/node, src/codec.rs and src/peer" >&2
        exit 2
        ;;
    esac
done
rm -rf "$out"
mkdir -p "$out"
# Patterns are cargo-mutants' to expand, and each is a word of its own.
set -f
# shellcheck disable=SC2086
mutate raft-core $core
# shellcheck disable=SC2086
mutate ticketd $program
set +f

for outcome in caught timeout missed unviable; do
    cat "$out"/*/mutants.out/$outcome.txt | sed "s/^/$outcome /"
done >"$out/all"

echo
awk -v percent_min="$PERCENT_MIN" '
    function row(name, caught, timeout, missed, unviable) {
        return sprintf("%-40s %8s %8s %8s %8s", name, caught, timeout, missed, unviable)
    }
    {
        split($2, at, ":")
        files[at[1]]
        count[at[1], $1]++
        total[$1]++
    }
    END {
        print row("", "caught", "timeout", "missed", "unviable")
        fflush()
        for (f in files)
            print row(f, count[f, "caught"] + 0, count[f, "timeout"] + 0, count[f, "missed"] + 0, \
                count[f, "unviable"] + 0) | "sort"
        close("sort")
        print row("all", total["caught"] + 0, total["timeout"] + 0, total["missed"] + 0, total["unviable"] + 0)
        noticed = total["caught"] + total["timeout"]
        viable = noticed + total["missed"]
        percent = viable ? 100 * noticed / viable : 0
        printf "\n%d of %d viable mutants noticed: %.1f of a hundred, at least %d wanted\n", noticed, viable, \
            percent, percent_min
        exit percent < percent_min
    }
' "$out/all" || failed=yes

# A mutant is listed by its name without the line, which any change above it would move.
sed -n 's/^missed \([^:]*\):[0-9]*:[0-9]*: /\1: /p' "$out/all" | sort -u | while read -r name; do
    grep -qF -- "$name" "$list" || echo "missed, and not in $list: $name"
done >"$out/unlisted"
cat "$out/unlisted"
[ -z "${failed:-}" ] && [ ! -s "$out/unlisted" ]
