#!/bin/sh
# Runs fuzz targets, each for some seconds, and fails where one finds something.
#
#   fuzz/run.sh SECONDS FLAGS TARGET...
#
# With cargo-fuzz and a nightly toolchain, AddressSanitizer watches; without them, the stable toolchain builds the same
# targets with coverage alone. TOOLCHAIN=stable or TOOLCHAIN=nightly decides. What is new is kept in
# fuzz/target/corpus/TARGET, what fails in fuzz/artifacts/TARGET.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/scripts/rust.sh"
seconds=$1
flags=$2
shift 2
cd "$root/fuzz"

if [ -z "${TOOLCHAIN:-}" ]; then
    if cargo +nightly fuzz --version >/dev/null 2>&1; then TOOLCHAIN=nightly; else TOOLCHAIN=stable; fi
fi
target_dir=${CARGO_TARGET_DIR:-$root/fuzz/target}
host=$(rustc -vV | sed -n 's/^host: //p')

case $TOOLCHAIN in
nightly)
    cargo +nightly fuzz build --fuzz-dir . --target-dir "$target_dir" >&2
    ;;
stable)
    # What rustc's own -Zsanitizer flags would ask of LLVM, without a sanitizer. A target is named so that build
    # scripts are not built with these flags.
    RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
        -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions \
        -Coverflow-checks --cfg fuzzing" \
        cargo build --release --target "$host" --target-dir "$target_dir" >&2
    ;;
*)
    echo "TOOLCHAIN is stable or nightly, not $TOOLCHAIN" >&2
    exit 2
    ;;
esac

for name; do
    echo "$name, $seconds s, $TOOLCHAIN"
    mkdir -p "target/corpus/$name" "artifacts/$name"
    # shellcheck disable=SC2086
    "$target_dir/$host/release/$name" -max_total_time="$seconds" -artifact_prefix="artifacts/$name/" \
        -print_final_stats=1 -verbosity=0 -timeout=60 $flags "target/corpus/$name" "corpus/$name"
done
