# Model checking: see docs/model-checking.rst.

.PHONY: model model-mutants

# Configurations to explore, as in `make model CONFIGURATION='elections barriers'`; all of them if none is named.
CONFIGURATION ?=
# How many states of each are visited at most: what is kept of 20 million fits into 8 GiB.
STATES ?= 20000000

model: setup
	@. scripts/rust.sh && cargo run --profile sim $(CARGO_FLAGS) -p ticketd-model -- --states $(STATES) $(CONFIGURATION)

model-mutants: setup
	@model/mutants.sh
