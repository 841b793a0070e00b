# Fuzzing: see docs/fuzzing.rst. Included by the Makefile.

.PHONY: fuzz

FUZZ_TARGETS := $(basename $(notdir $(wildcard fuzz/fuzz_targets/*.rs)))
# One target, as in `make fuzz TARGET=peer_codec`; each in turn if none is named.
TARGET ?= $(FUZZ_TARGETS)
# Seconds that each target runs.
TIME ?= 60
# stable or nightly; nightly where cargo-fuzz is installed for it, because then a sanitizer watches.
FUZZ_TOOLCHAIN ?=
# More for libFuzzer, as in FUZZ_FLAGS='-jobs=2 -workers=2'.
FUZZ_FLAGS ?=

fuzz: setup ## whatever a fuzzer makes up: make fuzz [TARGET=name] [TIME=seconds]
	@TOOLCHAIN='$(FUZZ_TOOLCHAIN)' fuzz/run.sh $(TIME) '$(FUZZ_FLAGS)' $(TARGET)
