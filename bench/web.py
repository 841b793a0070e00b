"""The little HTTP that the programs here need: one request, one answer, no surprise."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Endpoint:
    """Where a service answers."""

    host: str
    port: int
    path: str = "/"

    def __str__(self) -> str:
        return f"http://{self.host}:{self.port}{self.path}"


def request(
    endpoint: Endpoint,
    *,
    method: str = "POST",
    path: str | None = None,
    body: str = "",
    seconds_max: float = 2.0,
) -> tuple[int, str]:
    """The status and the body of the answer; 0 where there was none."""
    connection = http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=seconds_max)
    try:
        connection.request(method, endpoint.path if path is None else path, body or None)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    except (OSError, http.client.HTTPException):
        return 0, ""
    finally:
        connection.close()


def json_of(
    endpoint: Endpoint, *, method: str = "POST", path: str | None = None, body: str = ""
) -> dict[str, Any]:
    """The object that was answered; an empty one where there was none."""
    status, text = request(endpoint, method=method, path=path, body=body)
    if status != 200:
        return {}
    try:
        answer = json.loads(text)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}
