"""requests: sends GET after a 301, keeps POST after 307 and 308."""
import os
import sys

try:
    import requests
except ImportError:
    sys.exit(77)

follower, leader, redirect = (os.environ[name] for name in ("FOLLOWER", "LEADER", "REDIRECT"))
session = requests.Session()
if redirect == "301":
    response = requests.post(follower)
    assert response.status_code == 405 and "--redirect_status 307" in response.text, response.text
    response = session.post(follower, allow_redirects=False)
    response = session.post(response.headers["Location"])
else:
    response = session.post(follower)
response.raise_for_status()
print(response.text)
for _ in range(20):
    response = session.post(leader)
    response.raise_for_status()
    print(response.text)
taken = session.post(leader, params={"n": 3}, headers={"Accept": "application/json"}).json()
print(taken["first"], taken["last"])
