"""aiohttp: sends GET after a 301, keeps POST after 307 and 308."""
import asyncio
import os
import sys

try:
    import aiohttp
except ImportError:
    sys.exit(77)

follower, leader, redirect = (os.environ[name] for name in ("FOLLOWER", "LEADER", "REDIRECT"))


async def take(session, url, **options):
    async with session.post(url, **options) as response:
        text = await response.text()
        assert response.status == 200, (response.status, text)
        return text


async def main():
    async with aiohttp.ClientSession() as session:
        if redirect == "301":
            async with session.post(follower) as response:
                assert response.status == 405, response.status
            async with session.post(follower, allow_redirects=False) as response:
                location = response.headers["Location"]
            print(await take(session, location))
        else:
            print(await take(session, follower))
        for _ in range(20):
            print(await take(session, leader))
        print(await take(session, leader, params={"n": "3"}))
        # At once, over several connections: in any order, so sorted before they are shown.
        ids = await asyncio.gather(*(take(session, leader) for _ in range(50)))
        print(*sorted(ids, key=int), sep="\n")


asyncio.run(main())
