# The real program on disks that fail, fill up, stall and forget (docs/chaos.rst).

# How often each thing is done, and with which seed.
ROUNDS ?= 100
CHAOS_SEED ?= 0

.PHONY: chaos

chaos: setup
	@. scripts/rust.sh && TICKETD_CHAOS_ROUNDS=$(ROUNDS) TICKETD_CHAOS_SEED=$(CHAOS_SEED) \
		cargo test --test chaos $(CARGO_FLAGS) -- --nocapture --test-threads 2
