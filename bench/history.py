"""What clients saw, and whether a service of unique, ordered IDs may have shown it to them.

A record of requests with the times at which each was sent and answered. Nothing else is known: not which node
led, not what was lost.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Iterable


@dataclass(frozen=True)
class Taken:
    """One request that was answered by an ID. The times are of one monotonic clock."""

    sent_at: float
    answered_at: float
    id: int
    node: int


def violations(history: Iterable[Taken], most: int = 10) -> list[str]:
    """What must never be, in words: an ID that was given twice, or one smaller than an ID that was answered
    before its request was sent. Empty where all is well."""
    found: list[str] = []
    seen: dict[int, Taken] = {}
    # Answered, but perhaps not yet when the request that is being looked at was sent; by the time of the answer.
    answered: list[tuple[float, int]] = []
    largest_before = 0
    for one in sorted(history, key=lambda taken: taken.sent_at):
        if len(found) >= most:
            break
        if one.id in seen:
            found.append(f"ID {one.id} was given twice: {seen[one.id]} and {one}")
        seen[one.id] = one
        while answered and answered[0][0] < one.sent_at:
            largest_before = max(largest_before, heapq.heappop(answered)[1])
        if one.id < largest_before:
            found.append(f"ID {one.id} was given after ID {largest_before} had been: {one}")
        heapq.heappush(answered, (one.answered_at, one.id))
    return found
