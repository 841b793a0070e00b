"""Measures ticketd side by side with what a user would otherwise pick. How to read it: `docs/performance.rst`.

Standard library only. Each program here is a module that is run from the root of the repository:

    python3 -m bench.throughput     requests a second and latency of every service, in interleaved rounds
    python3 -m bench.failover       how long nobody answers when the leader ends, in three ways
    python3 -m bench.growth         what grows with IDs taken, nodes and connections
    python3 -m bench.soak           whether a leader keeps its place in an hour of full load

machine, process, web     what any of them needs
services, clusters        what is measured: how each is started, and when it is ready
load, syscalls            the load generators, and how their words are read; system calls for each request
prober, history, network  probes that never wait for a lost answer, their record, and machines that vanish
report, goals, plot       tables, what was wanted, and pictures

Two programs in Rust, each a workspace of its own: `probe` is what the machine allows without any of ticketd's code, and
`uring` (`make uring`) is what io_uring would save.
"""
