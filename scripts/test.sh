#!/bin/bash
# Runs every test of the workspace and ends with their number.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/rust.sh

log=$(mktemp)
# What the tests say that they could not do on this machine: the harness hides what a test prints that passes.
export SKIPPED
SKIPPED=$(mktemp)
trap 'rm -f "$log" "$SKIPPED"' EXIT

status=0
# One failing test binary must not hide the others' results.
# shellcheck disable=SC2086
cargo test --workspace --no-fail-fast ${CARGO_FLAGS:-} 2>&1 | tee "$log" || status=$?

awk '
    /^test result:/ {
        for (i = 2; i <= NF; i++) {
            if ($i == "passed;") passed += $(i - 1)
            if ($i == "failed;") failed += $(i - 1)
            if ($i == "ignored;") ignored += $(i - 1)
        }
    }
    END { printf "\n%d tests passed, %d failed, %d ignored\n", passed, failed, ignored }
' "$log"
if [ -s "$SKIPPED" ]; then
    echo 'Not tried on this machine:'
    sort -u "$SKIPPED"
fi
exit "$status"
