# `make clients`: every client that docs/clients.rst lists, and every proxy that docs/http.rst configures, against a
# real cluster; what is missing is installed first.
# Go is used where it is installed.

CLIENTS_ENVIRONMENT ?= target/clients

.PHONY: clients
clients: setup
	tests/clients/setup.sh '$(CLIENTS_ENVIRONMENT)'
	. scripts/rust.sh && PATH="$(abspath $(CLIENTS_ENVIRONMENT))/bin:$$PATH" CLIENTS=all \
	    cargo test $(CARGO_FLAGS) --test clients --test proxies -- --nocapture
