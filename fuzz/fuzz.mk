# Fuzzing: see docs/fuzzing.rst. Included by the Makefile.

.PHONY: fuzz fuzz-coverage fuzz-setup

FUZZ_TARGETS := $(basename $(notdir $(wildcard fuzz/fuzz_targets/*.rs)))
# One target, as in `make fuzz TARGET=peer_codec`; each in turn if none is named.
TARGET ?= $(FUZZ_TARGETS)
# Seconds that each target runs.
TIME ?= 60
# stable or nightly; nightly where cargo-fuzz is installed for it, because then a sanitizer watches.
FUZZ_TOOLCHAIN ?=
# More for libFuzzer, as in FUZZ_FLAGS='-jobs=2 -workers=2'.
FUZZ_FLAGS ?=

# What make fuzz-coverage runs: all, or committed for fuzz/corpus alone.
CORPUS ?= all

fuzz-setup: setup
	@fuzz/setup.sh

fuzz: fuzz-setup ## whatever a fuzzer makes up: make fuzz [TARGET=name] [TIME=seconds]
	@TOOLCHAIN='$(FUZZ_TOOLCHAIN)' fuzz/run.sh $(TIME) '$(FUZZ_FLAGS)' $(TARGET)

fuzz-coverage: fuzz-setup ## what the corpora reach: make fuzz-coverage [TARGET=name] [CORPUS=committed]
	@CORPUS='$(CORPUS)' fuzz/coverage.sh $(TARGET)
