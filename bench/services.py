"""The services that are compared: how each is started, when it is ready, and what loads it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from contextlib import ExitStack
from pathlib import Path
from typing import Callable

from bench import clusters, load, machine, web
from bench.clusters import Cluster, Etcd, Place, Ticketd
from bench.load import Load, Sample
from bench.process import Process, wait_until
from bench.web import Endpoint

READY_SECONDS_MAX = 60.0
# How often a service is asked whether it answers: the resolution of the time that it takes to start.
READY_PAUSE_SECONDS = 0.0005

CONNECTIONS_MAX = 1_000


class Service(ABC):
    """One of those that are compared. `start` and `stop` may be called any number of times, in turns. Whoever
    calls `start` has to call `stop` as well, also where `start` has failed: it may have got half way."""

    # What the tables call it.
    name: str
    # The programs that it needs (see `machine.PACKAGES`).
    programs: tuple[str, ...] = ()

    def __init__(self) -> None:
        # Stops all that was started since it was last emptied, the latest first.
        self._started = ExitStack()

    @abstractmethod
    def start(self, directory: Path) -> float:
        """Starts it in an empty directory. Returns once it has given its first answer, with the seconds that
        this took, from when its first process was started."""

    @abstractmethod
    def processes(self) -> list[Process]:
        """What runs; the one that answers comes first."""

    @abstractmethod
    def load(self, load: Load) -> Sample:
        """Loads it."""

    def stop(self) -> None:
        """Stops all that was started, however far the start got."""
        self._started.close()

    def spawn(self, arguments: list[str], log: Path, *, user: str | None = None) -> Process:
        """Starts a process that `stop` will stop."""
        process = Process(arguments, log, user=user)
        self._started.callback(process.stop)
        return process


class Http(Service):
    """A service that answers at an endpoint over HTTP."""

    body = ""

    @abstractmethod
    def endpoint(self) -> Endpoint:
        """Where it answers."""

    def load(self, load_: Load) -> Sample:
        return load.wrk(self.endpoint(), load_, body=self.body)

    def answers(self) -> bool:
        return web.request(self.endpoint(), body=self.body)[0] == 200


class Nginx(Http):
    """nginx with a constant answer: what HTTP costs when nothing is done. As many workers as ticketd has loops."""

    name = "nginx"
    programs = ("nginx",)

    def start(self, directory: Path) -> float:
        self._port = machine.free_ports(1)[0]
        configuration = directory / "nginx.conf"
        configuration.write_text(f"""
            worker_processes 1; daemon off; pid {directory}/pid; error_log {directory}/error.log crit;
            events {{ worker_connections {2 * CONNECTIONS_MAX}; }}
            http {{
                access_log off; keepalive_requests 1000000000; server_tokens off; default_type text/plain;
                server {{ listen 127.0.0.1:{self._port}; location / {{ return 200 1234567890; }} }}
            }}""")
        began = time.monotonic()
        arguments = [machine.need("nginx"), "-p", str(directory), "-c", str(configuration)]
        self._process = self.spawn([*arguments, "-e", str(directory / "error.log")], directory / "log")
        return _ready(began, self.answers, self._process)

    def processes(self) -> list[Process]:
        return [self._process]

    def endpoint(self) -> Endpoint:
        return Endpoint("127.0.0.1", self._port)


class Limit(Http):
    """The limit probe: three processes, and nothing else. See `bench/probe`."""

    name = "limit probe"

    def start(self, directory: Path) -> float:
        program = machine.limit_probe()
        self._port, *echoes = machine.free_ports(3)
        began = time.monotonic()
        self._echoes = [self.spawn([program, "echo", str(port)], directory / "log") for port in echoes]
        # Each accepts one connection only, so it cannot be asked whether it is there.
        time.sleep(0.05)
        arguments = [program, "serve", str(self._port), *map(str, echoes)]
        self._server = self.spawn(arguments, directory / "log")
        return _ready(began, self.answers, self._server)

    def processes(self) -> list[Process]:
        return [self._server, *self._echoes]

    def endpoint(self) -> Endpoint:
        return Endpoint("127.0.0.1", self._port)


class Clustered(Http):
    """ticketd or etcd, loaded at the node that leads, or at one that does not."""

    def __init__(self, name: str, size: int, *, at_leader: bool = True) -> None:
        super().__init__()
        self.name = name
        self._size = size
        self._at_leader = at_leader

    @abstractmethod
    def make(self, directory: Path) -> Cluster:
        """A cluster that was not started."""

    def start(self, directory: Path) -> float:
        self.cluster = self.make(directory)
        self.body = self.cluster.body
        self._started.callback(clusters.stop, self.cluster)
        began = time.monotonic()
        self.cluster.spawn()
        self._target = self.cluster.nodes[0] if self._size == 1 else self._choose()
        return _ready(began, self.answers, self._target.running())

    def processes(self) -> list[Process]:
        others = [node.running() for node in self.cluster.nodes if node is not self._target]
        return [self._target.running(), *others]

    def endpoint(self) -> Endpoint:
        return Endpoint(self._target.place.host, self._target.client_port, self.cluster.path)

    def load(self, load_: Load) -> Sample:
        return clusters.load_ids(self.cluster, self._target, load_)

    def places(self) -> list[Place]:
        return [Place()] * self._size

    def _choose(self) -> clusters.Node:
        clusters.wait_until_whole(self.cluster)
        leader = self.cluster.leader()
        if leader is None:
            raise RuntimeError(f"{self.name} lost its leader before it was loaded")
        return leader if self._at_leader else next(node for node in self.cluster.nodes if node is not leader)


class TicketdService(Clustered):
    """ticketd, with flags."""

    def __init__(self, name: str, size: int, *flags: str, at_leader: bool = True) -> None:
        super().__init__(name, size, at_leader=at_leader)
        self.flags = list(flags)

    def make(self, directory: Path) -> Cluster:
        return Ticketd(clusters.make_nodes(directory, self.places()), self.flags)

    def load_batches(self, load_: Load, ids_per_request: int) -> Sample:
        """Asks for so many IDs with each request."""
        return clusters.load_ids(self.cluster, self._target, load_, ids_per_request)


class EtcdService(Clustered):
    """etcd, through its JSON gateway."""

    programs = ("etcd",)

    def make(self, directory: Path) -> Cluster:
        return Etcd(clusters.make_nodes(directory, self.places()))


class Redis(Service):
    """INCR, with every answer behind an fsync, or with one each second."""

    programs = ("redis", "redis-benchmark")

    def __init__(self, appendfsync: str) -> None:
        super().__init__()
        self.name = f"Redis {appendfsync}"
        self._appendfsync = appendfsync

    def start(self, directory: Path) -> float:
        self._endpoint = Endpoint("127.0.0.1", machine.free_ports(1)[0])
        began = time.monotonic()
        self._process = self.spawn(
            [
                machine.need("redis-server"),
                "--port",
                str(self._endpoint.port),
                "--bind",
                "127.0.0.1",
                "--dir",
                str(directory),
                "--save",
                "",
                "--appendonly",
                "yes",
                "--appendfsync",
                self._appendfsync,
                "--loglevel",
                "warning",
                "--daemonize",
                "no",
            ],
            directory / "log",
        )
        return _ready(began, self._answers, self._process)

    def processes(self) -> list[Process]:
        return [self._process]

    def load(self, load_: Load) -> Sample:
        return load.redis_benchmark(self._endpoint, load_)

    def _answers(self) -> bool:
        try:
            with socket.create_connection((self._endpoint.host, self._endpoint.port), 1.0) as connection:
                connection.sendall(b"INCR first\r\n")
                return connection.recv(64).startswith(b":")
        except OSError:
            return False


class Postgres(Service):
    """`nextval` of a sequence."""

    name = "PostgreSQL"
    programs = ("postgres", "pgbench")

    def start(self, directory: Path) -> float:
        self._endpoint = Endpoint("127.0.0.1", machine.free_ports(1)[0])
        self._directory = directory
        # The server refuses to run as root.
        user = "postgres" if os.geteuid() == 0 else None
        data = directory / "data"
        data.mkdir()
        log = directory / "log"
        log.touch()
        if user:
            shutil.chown(data, user)
        made = self.spawn(
            [machine.need("initdb"), "-D", str(data), "-A", "trust", "-U", "postgres"], log, user=user
        )
        if made.wait(READY_SECONDS_MAX) != 0:
            raise RuntimeError(f"initdb failed:\n{made.last_words()}")
        began = time.monotonic()
        self._process = self.spawn(
            [
                machine.need("postgres"),
                "-D",
                str(data),
                "-k",
                str(data),
                "-h",
                "127.0.0.1",
                "-p",
                str(self._endpoint.port),
                "-c",
                f"max_connections={CONNECTIONS_MAX + 100}",
            ],
            log,
            user=user,
        )
        seconds = _ready(began, lambda: self._says("CREATE SEQUENCE IF NOT EXISTS ids"), self._process)
        return seconds

    def processes(self) -> list[Process]:
        return [self._process]

    def load(self, load_: Load) -> Sample:
        return load.pgbench(self._endpoint, load_, self._directory)

    def _says(self, statement: str) -> bool:
        arguments = [
            machine.need("psql"),
            "-h",
            self._endpoint.host,
            "-p",
            str(self._endpoint.port),
            "-U",
            "postgres",
            "-q",
            "-c",
            statement,
        ]
        return subprocess.run(arguments, capture_output=True, timeout=READY_SECONDS_MAX).returncode == 0


def _ready(began: float, answers: Callable[[], bool], process: Process) -> float:
    """Waits for the first answer; the seconds since `began`."""

    def check() -> bool:
        if not process.is_running():
            raise RuntimeError(f"{process.arguments[0]} has ended:\n{process.last_words()}")
        return answers()

    wait_until(check, READY_SECONDS_MAX, f"{process.arguments[0]} answers", pause_seconds=READY_PAUSE_SECONDS)
    return time.monotonic() - began


def all_services() -> list[Service]:
    """Every service, in the order in which a round visits them and the tables show them."""
    return [
        Nginx(),
        Limit(),
        TicketdService("ticketd 3", 3),
        TicketdService("ticketd 3 --window 0", 3, "--window", "0"),
        TicketdService("ticketd 3 --lease", 3, "--lease"),
        TicketdService("ticketd 3 --forward, at a follower", 3, "--forward", at_leader=False),
        TicketdService("ticketd 1", 1),
        Redis("everysec"),
        Redis("always"),
        Postgres(),
        EtcdService("etcd 1", 1),
        EtcdService("etcd 3", 3),
    ]
