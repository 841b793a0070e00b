# Mutation testing; docs/mutation-testing.rst says what of. Included by the Makefile.

.PHONY: mutants

# One file or more, as in `make mutants FILE=raft-core/src/log.rs`; all of them if none is named.
FILE ?=
# How many mutants are built and tested at once, each by a copy of the sources.
MUTANTS_JOBS ?= 2

mutants: setup ## change the code in small ways, one at a time; the tests must notice: make mutants [FILE=path]
	@JOBS='$(MUTANTS_JOBS)' tests/mutants/run.sh $(FILE)
