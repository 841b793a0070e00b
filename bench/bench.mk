# Measuring. Included by the Makefile, whose `build` leaves the release binary. No test depends on any of these.
#
#   make bench      BENCH_FLAGS='--rounds 3 --seconds 1 --services etcd'
#   make failover   FAILOVER_FLAGS='--times 5 --ends kill'
#   make growth     GROWTH_FLAGS='--ids 1000000'
#   make soak       SOAK_FLAGS='--minutes 5'
#   make uring

PYTHON ?= python3

.PHONY: bench failover growth soak uring bench-test

bench: build
	@. scripts/rust.sh && exec $(PYTHON) -m bench.throughput $(BENCH_FLAGS)

failover: build
	@. scripts/rust.sh && exec $(PYTHON) -m bench.failover $(FAILOVER_FLAGS)

growth: build
	@. scripts/rust.sh && exec $(PYTHON) -m bench.growth $(GROWTH_FLAGS)

soak: build
	@. scripts/rust.sh && exec $(PYTHON) -m bench.soak $(SOAK_FLAGS)

uring: setup
	@. scripts/rust.sh && cargo run --quiet --release --manifest-path bench/uring/Cargo.toml \
		--target-dir "$${CARGO_TARGET_DIR:-target}/bench"

# The parts that read, check and draw, with inputs of which the result is known.
bench-test:
	@$(PYTHON) -m unittest discover --start-directory bench/tests --top-level-directory .
