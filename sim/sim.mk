# Deterministic simulation; docs/simulation.rst says what of. Included by the Makefile.

.PHONY: sim sim-mutants

SEEDS ?= 10000
SIM_FLAGS ?=

sim: setup ## whole clusters from seeds: make sim [SEEDS=n], make sim SEED=n [SIM_FLAGS='--frames'] to replay one
	@. scripts/rust.sh && cargo run --quiet --profile sim -p ticketd-sim $(CARGO_FLAGS) -- \
		$(if $(SEED),--seed $(SEED),--seeds $(SEEDS)) $(SIM_FLAGS)

sim-mutants: setup ## plant known protocol mistakes one at a time; the simulation must find each
	@sim/mutants.sh $(MUTANTS)
