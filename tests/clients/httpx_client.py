"""httpx: sends GET after a 301, keeps POST after 307 and 308."""
import os
import sys

try:
    import httpx
except ImportError:
    sys.exit(77)

follower, leader, redirect = (os.environ[name] for name in ("FOLLOWER", "LEADER", "REDIRECT"))
with httpx.Client(timeout=30) as client:
    if redirect == "301":
        assert client.post(follower, follow_redirects=True).status_code == 405
        response = client.post(follower)
        response = client.post(response.headers["Location"])
    else:
        response = client.post(follower, follow_redirects=True)
    response.raise_for_status()
    print(response.text)
    for _ in range(20):
        response = client.post(leader)
        response.raise_for_status()
        print(response.text)
    taken = client.post(leader, params={"n": 3}, headers={"Accept": "application/json"}).json()
    print(taken["first"], taken["last"])
