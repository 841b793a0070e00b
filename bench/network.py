"""Machines that can vanish: network namespaces on one bridge, each with an address of its own.

A machine that loses its power sends no reset and no end of stream; its packets just stop. The same is had by
taking its cable off the bridge: everything on either side stays up, and nothing gets through.
"""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from typing import Iterator

from bench import machine
from bench.clusters import Place

# TEST-NET-3 (RFC 5737): belongs to nobody, and the namespaces reach nobody else.
PREFIX = "203.0.113."
OUR_NUMBER = 254


class Unavailable(Exception):
    """This machine makes no network namespaces for us."""


class Lab:
    """A bridge, and a namespace for each node. Everything is named after this process, and ends with it."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._name = f"tb{os.getpid()}"

    def place(self, node: int) -> Place:
        """Where a node lives, counted from 1."""
        return Place(f"{PREFIX}{node}", (machine.need("ip"), "netns", "exec", self._namespace(node)))

    def unplug(self, node: int) -> None:
        """From now on no packet reaches this node, and none of its packets anybody."""
        _ip("link", "set", self._cable(node), "nomaster")

    def plug(self, node: int) -> None:
        _ip("link", "set", self._cable(node), "master", self._name)

    def build(self) -> None:
        _ip("link", "add", self._name, "type", "bridge", "forward_delay", "0")
        _ip("addr", "add", f"{PREFIX}{OUR_NUMBER}/24", "dev", self._name)
        _ip("link", "set", self._name, "up")
        for node in range(1, self._size + 1):
            namespace, cable = self._namespace(node), self._cable(node)
            _ip("netns", "add", namespace)
            _ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", namespace)
            _ip("link", "set", cable, "master", self._name, "up")
            for arguments in (
                ["addr", "add", f"{PREFIX}{node}/24", "dev", "eth0"],
                ["link", "set", "eth0", "up"],
                ["link", "set", "lo", "up"],
            ):
                _ip("-n", namespace, *arguments)

    def remove(self) -> None:
        """Removes what there is of it."""
        for node in range(1, self._size + 1):
            for arguments in (["netns", "del", self._namespace(node)], ["link", "del", self._cable(node)]):
                subprocess.run([machine.need("ip"), *arguments], capture_output=True)
        subprocess.run([machine.need("ip"), "link", "del", self._name], capture_output=True)

    def _namespace(self, node: int) -> str:
        return f"{self._name}-{node}"

    def _cable(self, node: int) -> str:
        return f"{self._name}v{node}"


@contextmanager
def lab(size: int) -> Iterator[Lab]:
    """A lab that is gone afterwards."""
    if os.geteuid() != 0 or machine.find("ip") is None:
        raise Unavailable("network namespaces need root and iproute2")
    made = Lab(size)
    try:
        try:
            made.build()
        except subprocess.CalledProcessError as error:
            raise Unavailable(f"no network namespace: {error.stderr.strip()}") from error
        yield made
    finally:
        made.remove()


def _ip(*arguments: str) -> None:
    subprocess.run([machine.need("ip"), *arguments], check=True, capture_output=True, text=True)
