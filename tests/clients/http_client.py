"""Python's http.client: follows nothing, keeps the connection."""
import http.client
import os
from urllib.parse import urlsplit


def connect(url):
    return http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)


def ask(connection, target="/", body=None, headers={}):
    chunked = "Transfer-Encoding" in headers
    connection.request("POST", target, body, headers, encode_chunked=chunked)
    response = connection.getresponse()
    return response, response.read().decode()


response, body = ask(connect(os.environ["FOLLOWER"]))
if os.environ["REDIRECT"] != "none":
    assert response.status == int(os.environ["REDIRECT"]), response.status
    location = urlsplit(response.getheader("Location"))
    response, body = ask(connect(f"//{location.netloc}"), location.path)
assert response.status == 200, (response.status, body)
print(body)

leader = connect(os.environ["LEADER"])
socket = None
for _ in range(20):
    response, body = ask(leader)
    assert response.status == 200
    assert socket in (None, leader.sock), "the connection is kept"
    socket = leader.sock
    print(body)
print(ask(leader, "/?n=3")[1])
# A body of unknown length is sent in chunks.
print(ask(leader, body=iter([b"a", b"b"]), headers={"Transfer-Encoding": "chunked"})[1])
