# What a newcomer needs is `make cluster` and `make test`; `make` alone lists the rest.

# Flags for cargo, as in `make build CARGO_FLAGS=--offline`.
CARGO_FLAGS ?=

.PHONY: help cluster test build check clean setup

help:
	@echo 'make cluster         build, run a cluster of three on this machine, take some IDs; Ctrl-C stops it'
	@echo 'make test            run all tests'
	@echo 'make build           build target/release/ticketd'
	@echo 'make check           formatting, lints and documentation, as before each commit'
	@echo 'make setup           install what is missing: a C compiler, curl, Rust'
	@echo 'make clean           remove what was built (not the stores in ./cluster)'
	@echo
	@echo 'Longer forms of what make test runs in short:'
	@echo 'make sim             whole clusters from ten thousand seeds; SEED=n replays one'
	@echo 'make sim-mutants     plant known mistakes, one at a time: the simulation must find each'
	@echo 'make model           every state of small clusters; make model-mutants plants mistakes there'
	@echo 'make mutants         change the code in small ways, one at a time: the tests must notice; FILE=path'
	@echo 'make fuzz            whatever a fuzzer makes up; TARGET=name TIME=seconds'
	@echo 'make fuzz-coverage   which lines its inputs reach, and which they do not'
	@echo 'make chaos           the real program on disks that fail, fill up, stall and forget'
	@echo 'make clients         every HTTP client that docs/clients.rst lists (installs them)'
	@echo
	@echo 'Measuring, beside what one would use instead (installs nginx, etcd, Redis, PostgreSQL and wrk):'
	@echo 'make bench           throughput and latency'
	@echo 'make failover        how long nobody answers when a leader ends'
	@echo 'make growth          what grows with IDs, nodes and connections'
	@echo 'make soak            whether a leader keeps its place in an hour of full load'
	@echo 'make uring           what io_uring would save'
	@echo
	@echo 'make cluster RAFT_PORT=9101 HTTP_PORT=8101   other ports: three from each on (9001 and 8001)'
	@echo 'make cluster CLUSTER=DIR                     another directory than ./cluster'

cluster: build
	@CARGO_FLAGS='$(CARGO_FLAGS)' scripts/cluster.sh

test: setup
	@CARGO_FLAGS='$(CARGO_FLAGS)' scripts/test.sh

build: setup
	@. scripts/rust.sh && cargo build --release $(CARGO_FLAGS)

check: setup
	@. scripts/rust.sh && cargo fmt --all --check
	@. scripts/rust.sh && cargo clippy --workspace --all-targets $(CARGO_FLAGS) -- -D warnings
	@. scripts/rust.sh && RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --document-private-items $(CARGO_FLAGS)

setup:
	@scripts/setup.sh

clean:
	@. scripts/rust.sh && cargo clean

include sim/sim.mk
include model/model.mk
include fuzz/fuzz.mk
include tests/chaos/chaos.mk
include tests/clients/clients.mk
include tests/mutants/mutants.mk
include bench/bench.mk
