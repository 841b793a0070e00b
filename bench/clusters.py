"""Clusters of ticketd and etcd: started from nothing, node by node, and able to lose any of them.

A node may live in a network namespace of its own (see `network`): then its address is there as well.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from bench import load, machine, web
from bench.load import Load, LoadFailed, Sample
from bench.process import Process, wait_until
from bench.web import Endpoint

# How long a cluster may take to come together, or a node to come back.
START_SECONDS_MAX = 60.0


@dataclass(frozen=True)
class Place:
    """Where a node lives: its address, and what a command is put behind to run there."""

    host: str = "127.0.0.1"
    prefix: tuple[str, ...] = ()


@dataclass
class Node:
    """One node, running or not."""

    id: int
    place: Place
    directory: Path
    client_port: int
    peer_port: int
    process: Process | None = None

    @property
    def client(self) -> Endpoint:
        return Endpoint(self.place.host, self.client_port)

    def running(self) -> Process:
        if self.process is None:
            raise RuntimeError(f"node {self.id} was not started")
        return self.process

    def spawn(self, arguments: list[str]) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.process = Process(arguments, self.directory / "log", prefix=self.place.prefix)

    def require_alive(self) -> None:
        if not self.running().is_running():
            raise RuntimeError(f"node {self.id} has ended:\n{self.running().last_words()}")


class Cluster(Protocol):
    """What measuring has to know of a cluster."""

    name: str
    nodes: list[Node]
    # The body of a request for an ID, and the path that it goes to.
    body: str
    path: str

    def spawn(self) -> None:
        """Starts every node, from nothing, and waits for none."""
        ...

    def restart(self, node: Node) -> None:
        """Starts a node again that has ended; it goes on with what it has on disk."""
        ...

    def leader(self) -> Node | None:
        """The node that leads, where a node says so that is asked."""
        ...

    def is_whole(self) -> bool:
        """Whether every node has a vote, follows the same leader, and is as far as it."""
        ...

    def id_of(self, body: str) -> int | None:
        """The ID in the body of an answer."""
        ...


def make_nodes(directory: Path, places: list[Place]) -> list[Node]:
    """Nodes 1 to n, one at each place, none started."""
    ports = machine.free_ports(2 * len(places))
    return [
        Node(number + 1, place, directory / str(number + 1), ports[2 * number], ports[2 * number + 1])
        for number, place in enumerate(places)
    ]


def stop(cluster: Cluster) -> None:
    """Ends every node that runs, also where ending another has failed."""
    with ExitStack() as stack:
        # The stack is emptied from its end.
        for node in reversed(cluster.nodes):
            if node.process is not None:
                stack.callback(node.process.stop)


def wait_until_whole(cluster: Cluster) -> None:
    def check() -> bool:
        for node in cluster.nodes:
            node.require_alive()
        return cluster.is_whole()

    wait_until(check, START_SECONDS_MAX, f"{cluster.name} is whole")


def take_id(cluster: Cluster, node: Node) -> int:
    """An ID from a node that should give one."""
    found, said = _ask(cluster, node)
    if found is None:
        raise RuntimeError(f"node {node.id} of {cluster.name} answers {said} where it should give an ID")
    return found


def take_id_anywhere(cluster: Cluster) -> int:
    """An ID from the first node that gives one."""
    found: list[int] = []

    def check() -> bool:
        answers = (_ask(cluster, node)[0] for node in cluster.nodes)
        found.extend(islice((one for one in answers if one is not None), 1))
        return bool(found)

    wait_until(check, START_SECONDS_MAX, f"{cluster.name} gives an ID")
    return found[0]


def _ask(cluster: Cluster, node: Node) -> tuple[int | None, str]:
    """The ID that a node gives, if it gives one, and what it said."""
    status, body = web.request(replace(node.client, path=cluster.path), body=cluster.body)
    return cluster.id_of(body) if status == 200 else None, f"{status} {body!r}"


def load_ids(cluster: Cluster, node: Node, load_: Load, ids_per_request: int = 1) -> Sample:
    """Loads a node, and makes sure that what was counted as answers were IDs: to wrk, a redirect is as good.
    Only ticketd can be asked for more than one ID at once."""
    path = cluster.path if ids_per_request == 1 else f"{cluster.path}?n={ids_per_request}"
    before = take_id(cluster, node)
    sample = load.wrk(replace(node.client, path=path), load_, body=cluster.body)
    after = take_id(cluster, node)
    if load.without_id(sample.requests, before, after, ids_per_request):
        counted = f"{sample.requests * ids_per_request} IDs were counted"
        raise LoadFailed(f"{cluster.name}: {counted}, but only those between {before} and {after} were given")
    return sample


@dataclass
class Ticketd:
    """A cluster of ticketd nodes."""

    nodes: list[Node]
    flags: list[str] = field(default_factory=list)
    name: str = "ticketd"
    body: str = ""
    path: str = "/"

    def spawn(self) -> None:
        first, *others = self.nodes
        self._spawn(first, ["start"])
        for node in others:
            self._spawn(node, ["join", f"{first.place.host}:{first.peer_port}"])

    def restart(self, node: Node) -> None:
        node.spawn([machine.ticketd(), "--path", str(node.directory / "store")])

    def leader(self) -> Node | None:
        return next((node for node in self.nodes if self._status(node).get("role") == "leader"), None)

    def is_whole(self) -> bool:
        statuses = [self._status(node) for node in self.nodes]
        leaders = {status.get("leader") for status in statuses}
        commits = {status.get("commit_index") for status in statuses}
        voters = [
            sum(member["suffrage"] == "voter" for member in status.get("members", [])) for status in statuses
        ]
        return (
            len(leaders) == len(commits) == 1
            and None not in leaders
            and all(count == len(self.nodes) for count in voters)
        )

    def id_of(self, body: str) -> int | None:
        digits = body.split(" ")[0]
        return int(digits) if digits.isdigit() else None

    def _spawn(self, node: Node, command: list[str]) -> None:
        node.spawn(
            [
                machine.ticketd(),
                *command,
                "--path",
                str(node.directory / "store"),
                "--id",
                str(node.id),
                "--host",
                node.place.host,
                "--raft_port",
                str(node.peer_port),
                "--http_port",
                str(node.client_port),
                *self.flags,
            ]
        )

    def _status(self, node: Node) -> dict[str, Any]:
        return web.json_of(node.client, method="GET", path="/status")


@dataclass
class Etcd:
    """A cluster of etcd nodes, with etcd's defaults. An ID is the revision that a put makes."""

    nodes: list[Node]
    name: str = "etcd"
    # {"key": "id", "value": ""}
    body: str = '{"key":"aWQ="}'
    path: str = "/v3/kv/put"

    def spawn(self) -> None:
        for node in self.nodes:
            self.restart(node)

    def restart(self, node: Node) -> None:
        client = f"http://{node.place.host}:{node.client_port}"
        members = ",".join(f"{one.id}=http://{one.place.host}:{one.peer_port}" for one in self.nodes)
        peer = f"http://{node.place.host}:{node.peer_port}"
        node.spawn(
            [
                machine.need("etcd"),
                "--name",
                str(node.id),
                "--data-dir",
                str(node.directory / "data"),
                "--listen-client-urls",
                client,
                "--advertise-client-urls",
                client,
                "--listen-peer-urls",
                peer,
                "--initial-advertise-peer-urls",
                peer,
                "--initial-cluster",
                members,
                "--logger",
                "zap",
                "--log-level",
                "error",
            ]
        )

    def leader(self) -> Node | None:
        for node in self.nodes:
            status = self._status(node)
            if status and status.get("leader") == status.get("header", {}).get("member_id"):
                return node
        return None

    def is_whole(self) -> bool:
        statuses = [self._status(node) for node in self.nodes]
        leaders = {status.get("leader") for status in statuses}
        applied = {status.get("raftAppliedIndex") for status in statuses}
        return len(leaders) == len(applied) == 1 and leaders.isdisjoint({None, "0"})

    def id_of(self, body: str) -> int | None:
        # {"header":{...,"revision":"5",...}}: taken apart by hand, so that a probe does not wait for its parser.
        _, found, rest = body.partition('"revision":"')
        digits = rest.partition('"')[0]
        return int(digits) if found and digits.isdigit() else None

    def _status(self, node: Node) -> dict[str, Any]:
        return web.json_of(node.client, path="/v3/maintenance/status", body="{}")
