#!/bin/sh
# Measures what the corpora reach of the code that each target is about: of each file, the regions and lines that
# were run, and the numbers of the lines that were not.
#
#   fuzz/coverage.sh TARGET...
#
# CORPUS=committed takes fuzz/corpus alone; otherwise what make fuzz has kept in fuzz/target/corpus is run as well.
# rustc counts, and only tools of the same LLVM read its counts: rustup's llvm-tools, which are installed where they
# are missing. Without rustup, LLVM_PROFDATA and LLVM_COV name others.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/scripts/rust.sh"
cd "$root/fuzz"

host=$(rustc -vV | sed -n 's/^host: //p')
tools=$(rustc --print sysroot)/lib/rustlib/$host/bin
if [ -z "${LLVM_PROFDATA:-}" ] || [ -z "${LLVM_COV:-}" ]; then
    if ! [ -x "$tools/llvm-profdata" ]; then
        rustup component add llvm-tools || {
            echo "coverage: the LLVM tools of $(rustc -vV | sed -n 's/^LLVM version: /LLVM /p') are missing; get them" \
                "with 'rustup component add llvm-tools', or name them in LLVM_PROFDATA and LLVM_COV" >&2
            exit 1
        }
    fi
    LLVM_PROFDATA=$tools/llvm-profdata
    LLVM_COV=$tools/llvm-cov
fi

# What a target is about.
sources() {
    case $1 in
    peer_codec) echo src/peer src/codec.rs ;;
    codec_values) echo src/codec.rs ;;
    http_connection) echo src/http ;;
    # The fingerprint is for model checking alone.
    core_step) find "$root/raft-core/src" -name '*.rs' ! -name fingerprint.rs -printf 'raft-core/src/%P\n' ;;
    node_step) echo src/node ;;
    store) printf 'src/storage/%s\n' verify.rs reading.rs data_file journal/file.rs ;;
    journal) printf 'src/storage/%s\n' journal/changes.rs journal/sectors.rs record/pending.rs contents ;;
    store_records) echo src/storage/record/mod.rs src/storage/contents/collector.rs src/codec.rs ;;
    cli_addresses) echo src/address.rs ;;
    *)
        echo "coverage: $1 is about what? Say it in fuzz/coverage.sh" >&2
        exit 1
        ;;
    esac
}

# Not built with the flags of make fuzz, nor in its place.
target_dir=${CARGO_TARGET_DIR:-$root/fuzz/target}/coverage
RUSTFLAGS='-Cinstrument-coverage -Cdebug-assertions -Coverflow-checks --cfg fuzzing' \
    cargo build --release --target "$host" --target-dir "$target_dir" >&2

for name; do
    profile=$target_dir/$name.profdata
    program=$target_dir/$host/release/$name
    mkdir -p "target/corpus/$name"
    corpora="corpus/$name"
    [ "${CORPUS:-}" = committed ] || corpora="$corpora target/corpus/$name"
    log=$target_dir/$name.log
    # shellcheck disable=SC2086
    LLVM_PROFILE_FILE=$target_dir/$name.profraw "$program" -runs=0 -timeout=600 $corpora >"$log" 2>&1 || {
        cat "$log" >&2
        exit 1
    }
    "$LLVM_PROFDATA" merge --sparse "$target_dir/$name.profraw" -o "$profile"
    # shellcheck disable=SC2046
    set_of=$(cd "$root" && find $(sources "$name") -name '*.rs' | sort)
    # shellcheck disable=SC2086
    files=$(printf "$root/%s " $set_of)
    # shellcheck disable=SC2086
    printf '%s, %s inputs\n' "$name" "$(find $corpora -type f | wc -l)"
    # shellcheck disable=SC2086
    {
        "$LLVM_COV" report "$program" --instr-profile="$profile" $files
        "$LLVM_COV" export "$program" --instr-profile="$profile" --format=lcov $files
    } | awk -v root="$root/" -f coverage.awk
done
