"""The machine that all is measured on: what is installed, what is missing, what it is.

It knows nothing of services or figures.
"""

from __future__ import annotations

import os
import platform
import resource
import shutil
import socket
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Iterable, Iterator

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).resolve().parent / "results"

POLICY = Path("/usr/sbin/policy-rc.d")


@dataclass(frozen=True)
class Package:
    """A Debian package, a program in it by which we see that it is there, and the services it would start."""

    name: str
    program: str
    units: tuple[str, ...] = ()


PACKAGES = {
    "wrk": Package("wrk", "wrk"),
    "nginx": Package("nginx-light", "nginx", ("nginx",)),
    "etcd": Package("etcd-server", "etcd", ("etcd",)),
    "redis": Package("redis-server", "redis-server", ("redis-server",)),
    "redis-benchmark": Package("redis-tools", "redis-benchmark"),
    "postgres": Package("postgresql", "postgres", ("postgresql",)),
    "pgbench": Package("postgresql", "pgbench"),
    "perf": Package("linux-perf", "perf"),
    "ip": Package("iproute2", "ip"),
}


class Missing(Exception):
    """What is needed is not there and cannot be had; the text says what to do."""


def find(program: str) -> str | None:
    """Where a program is: on the path, or where Debian keeps what is not for everybody's path."""
    found = shutil.which(program)
    if found:
        return found
    versions = sorted(glob(f"/usr/lib/postgresql/*/bin/{program}"), key=_version_of_postgres)
    beside = [path for path in (f"/usr/sbin/{program}", f"/sbin/{program}") if os.access(path, os.X_OK)]
    return next(iter(versions[::-1] + beside), None)


def _version_of_postgres(path: str) -> int:
    number = path.split("/")[4]
    return int(number) if number.isdigit() else 0


def need(program: str) -> str:
    """Where a program is that `install` was asked for."""
    found = find(program)
    if found is None:
        raise Missing(f"{program} is not installed")
    return found


def install(programs: Iterable[str]) -> None:
    """Installs the packages of those programs that are missing, and keeps their services from being started."""
    missing = {PACKAGES[program] for program in programs if find(PACKAGES[program].program) is None}
    if not missing:
        return
    names = sorted(package.name for package in missing)
    print(f"installing {' '.join(names)}", flush=True)
    as_root = [] if os.geteuid() == 0 else ["sudo"]
    if find("apt-get") is None or (as_root and find("sudo") is None):
        raise Missing(f"install {' '.join(names)} and run this again")
    environment = [*as_root, "env", "DEBIAN_FRONTEND=noninteractive"]
    with _services_not_started(as_root):
        for arguments in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *names]):
            done = subprocess.run([*environment, "apt-get", *arguments], capture_output=True, text=True)
            if done.returncode != 0:
                raise Missing(f"apt-get {' '.join(arguments)} failed:\n{done.stderr.strip()}")
    if Path("/run/systemd/system").is_dir():
        for unit in (unit for package in missing for unit in package.units):
            # Not there, or already so: all that matters is that none of them comes with the next boot.
            subprocess.run([*as_root, "systemctl", "disable", "--now", unit], capture_output=True)


@contextmanager
def _services_not_started(as_root: list[str]) -> Iterator[None]:
    """Debian asks `policy-rc.d` whether a service may be started when its package is installed; we say no."""
    if POLICY.exists():
        yield
        return
    try:
        subprocess.run(
            [*as_root, "tee", str(POLICY)],
            input="#!/bin/sh\nexit 101\n",
            text=True,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        subprocess.run([*as_root, "chmod", "755", str(POLICY)], check=True)
        yield
    finally:
        subprocess.run([*as_root, "rm", "-f", str(POLICY)], check=True)


def target_directory() -> Path:
    """Where cargo puts what it builds."""
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).absolute()


def ticketd() -> str:
    """The release binary that `make build` leaves."""
    binary = Path(os.environ.get("TICKETD", target_directory() / "release" / "ticketd"))
    if not binary.is_file():
        raise Missing(f"there is no {binary}: run 'make build'")
    return str(binary)


def limit_probe() -> str:
    """The limit probe, built when it is not there or older than its source."""
    cargo = need("cargo")
    target = target_directory() / "bench"
    arguments = [
        cargo,
        "build",
        "--quiet",
        "--release",
        "--manifest-path",
        str(ROOT / "bench/probe/Cargo.toml"),
    ]
    subprocess.run([*arguments, "--target-dir", str(target)], check=True)
    return str(target / "release" / "probe")


@contextmanager
def workplace() -> Iterator[Path]:
    """A directory that is gone afterwards. Everybody may look in, because not every service runs as we do."""
    path = Path(tempfile.mkdtemp(prefix="ticketd-bench-"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def raise_descriptor_limit() -> int:
    """Lets this process and its children open as many files as they may; says how many that is."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """Ports that nobody listens on; all are held while they are looked for, so that they differ."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind((host, 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def describe() -> dict[str, str]:
    """What a reader has to know to compare two runs."""
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    described = {
        "processor": f"{os.cpu_count()} x {_processor()}",
        "memory": f"{memory_bytes / 2**30:.0f} GB",
        "kernel": platform.release(),
        "load before": f"{os.getloadavg()[0]:.2f}",
    }
    versions = {
        "nginx": ["nginx", "-v"],
        "etcd": ["etcd", "--version"],
        "redis": ["redis-server", "--version"],
        "postgres": ["postgres", "--version"],
        "wrk": ["wrk", "--version"],
    }
    for name, (program, flag) in versions.items():
        found = find(program)
        if found:
            said = subprocess.run([found, flag], capture_output=True, text=True)
            described[name] = (said.stdout + said.stderr).strip().splitlines()[0]
    binary = Path(ticketd())
    said = subprocess.run([str(binary), "--version"], capture_output=True, text=True)
    described["ticketd"] = f"{said.stdout.strip()}, {_commit()}, {binary.stat().st_size / 2**20:.2f} MB"
    return described


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def _commit() -> str:
    git = find("git")
    if git is None:
        return "commit unknown"
    said = subprocess.run(
        [git, "-C", str(ROOT), "describe", "--always", "--dirty"], capture_output=True, text=True
    )
    return f"commit {said.stdout.strip() or 'unknown'}"
