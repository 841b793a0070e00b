# Model checking; docs/model-checking.rst says what of. Included by the Makefile.

.PHONY: model model-mutants

# Configurations to explore, as in `make model CONFIGURATION='elections barriers'`; all of them if none is named.
CONFIGURATION ?=
# How many states of each are visited at most: what bounds the memory, 50 to 180 bytes for each, tables included.
STATES ?= 20000000
# yes: more may happen in each, so that few are complete; what STATES allows is visited.
DEEP ?=

model: setup ## every state of small clusters: make model [CONFIGURATION=name] [STATES=n] [DEEP=yes]
	@. scripts/rust.sh && cargo run --quiet --profile sim -p ticketd-model $(CARGO_FLAGS) -- \
		$(if $(DEEP),--deep) --states $(STATES) $(CONFIGURATION)

model-mutants: setup ## plant known protocol mistakes one at a time; the model checker must find each
	@model/mutants.sh $(MUTANTS)
