"""Pages through the real browser, one after the other slot: pages a second, and memory that must stay flat.

python -m bench.browser                 a hundred pages
python -m bench.browser --pages 2000    the long form: is memory flat?
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import resource
import sys
import time
from pathlib import Path

if __package__ in (None, ""):  # `python bench/browser.py`
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sentinel.fetch.browser import BrowserPool, Wear
from sentinel.fetch.browser_page import PageAsk
from sentinel.fetch.browser_program import find_program
from sentinel.fetch.browser_way import way_out
from sentinel.fetch.guard import NetworkPolicy

#: About 8 KB of text, a script that fills in the price, and images that are not to be loaded.
PAGE = (
    "<!DOCTYPE html><html><head><title>Widget</title></head><body><h1>Widget</h1><b class=price></b>"
    + "<p>All about the widget, line by line.</p>" * 200
    + "<img src=/picture.png>" * 20
    + "<script>document.querySelector('.price').append('19,99 €')</script></body></html>"
).encode()
MIB = 1024 * 1024


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {len(PAGE)}\r\n"
    writer.write(f"{head}Connection: close\r\n\r\n".encode() + PAGE)
    await writer.drain()
    writer.close()


async def measure(pages: int, at_once: int, wear: Wear) -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    restarts = itertools.count()
    policy = NetworkPolicy(allow_private=True)
    async with BrowserPool(
        find_program(), way_out(policy), wear=wear, tell_restart=lambda: next(restarts)
    ) as pool:
        began = time.monotonic()
        await one(pool, url)
        print(f"first page, with the start of driver and browser: {time.monotonic() - began:.2f} s")
        left = iter(range(pages))
        done = 0
        began = mark = time.monotonic()
        step = max(pages // 10, 1)

        async def work() -> None:
            nonlocal done, mark
            for _ in left:
                await one(pool, url)
                done += 1
                if done % step == 0:
                    now = time.monotonic()
                    print(
                        f"{done:>6} pages  {step / (now - mark):5.1f} pages/s"
                        f"  browser {await memory(pool):4.0f} MiB  worker {own():4.0f} MiB"
                    )
                    mark = time.monotonic()

        await asyncio.gather(*(work() for _ in range(at_once)))
        seconds = time.monotonic() - began
        print(
            f"{pages} pages, {at_once} at once: {pages / seconds:.1f} pages/s,"
            f" {next(restarts)} replaced, worker CPU {cpu() / pages * 1000:.0f} ms a page"
        )
    server.close()


async def one(pool: BrowserPool, url: str) -> None:
    found, _ = await pool.fetch(PageAsk(url=url, hope_for=".price"), lambda *_: True)
    if "19,99" not in found.text:
        raise SystemExit("the page came without what its script writes")


async def memory(pool: BrowserPool) -> float:
    """MiB of every browser, what its processes share counted once."""
    return await pool.memory() / MIB


def own() -> float:
    """MiB of this process now."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pages", type=int, default=100)
    parser.add_argument("--at-once", type=int, default=3)
    parser.add_argument("--recycle-pages", type=int, default=500)
    parser.add_argument("--recycle-mib", type=int, default=1024)
    given = parser.parse_args()
    if trouble := find_program().trouble:
        sys.exit(trouble)
    wear = Wear(at_once=given.at_once, pages=given.recycle_pages, memory=given.recycle_mib * MIB)
    asyncio.run(measure(given.pages, given.at_once, wear))


if __name__ == "__main__":
    main()
