"""urllib3: keeps POST after every redirect but 303."""
import os
import sys

try:
    import urllib3
except ImportError:
    sys.exit(77)

pool = urllib3.PoolManager()


def take(url):
    response = pool.request("POST", url)
    assert response.status == 200, (response.status, response.data)
    print(response.data.decode())


take(os.environ["FOLLOWER"] + "/")
for _ in range(20):
    take(os.environ["LEADER"] + "/")
take(os.environ["LEADER"] + "/?n=3")
