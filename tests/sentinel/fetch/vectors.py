"""Ways a page can make a browser open a connection, each aimed at a canary port of its own.

In a page's text `{u}` is `http://127.0.0.1:PORT/NAME`, `{h}` `127.0.0.1:PORT` and `{p}` the port.
`redirect(...)` is a path of the site that answers with a Location.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from tests.support.http import Reply, Site


def _script(code: str) -> str:
    return f"<script>{code}</script>"


def _worker(code: str, kind: str = "Worker") -> str:
    return _script(f"new {kind}(URL.createObjectURL(new Blob([`{code}`], {{type: 'text/javascript'}})))")


def _rtc(server: str) -> str:
    return _script(
        f"const c = new RTCPeerConnection({{iceServers: [{server}], iceCandidatePoolSize: 2}});"
        "c.createDataChannel('x'); c.createOffer().then(o => c.setLocalDescription(o));"
    )


_FETCH = "fetch('{u}', {mode: 'no-cors'}).catch(() => 0)"

#: Loaded in an iframe of one page.
FRAMED: Final[Mapping[str, str]] = {
    # What HTML and CSS load.
    "image": "<img src='{u}'>",
    "image srcset": "<img srcset='{u} 1x'>",
    "picture": "<picture><source srcset='{u}'><img></picture>",
    "svg image": "<svg><image href='{u}'/></svg>",
    "script": "<script src='{u}'></script>",
    "module script": "<script type=module>import('{u}').catch(() => 0)</script>",
    "stylesheet": "<link rel=stylesheet href='{u}'>",
    "css import": "<style>@import url('{u}');</style>",
    "css background": "<div style='background: url({u}); height: 9px'>x</div>",
    "font": "<style>@font-face { font-family: f; src: url('{u}') } p { font-family: f }</style><p>x",
    "icon": "<link rel=icon href='{u}'>",
    "video": "<video src='{u}' preload=auto></video>",
    "video poster": "<video poster='{u}'></video>",
    "audio": "<audio src='{u}' preload=auto></audio>",
    "track": "<video src='data:video/mp4,x'><track src='{u}' default></video>"
    + _script("document.querySelector('track').track.mode = 'showing'"),
    "iframe": "<iframe src='{u}'></iframe>",
    "object": "<object data='{u}'></object>",
    "embed": "<embed src='{u}'>",
    "input image": "<input type=image src='{u}'>",
    # What hints at later loads.
    "preload": "<link rel=preload as=fetch href='{u}'>",
    "modulepreload": "<link rel=modulepreload href='{u}'>",
    "prefetch": "<link rel=prefetch href='{u}'>",
    "preconnect": "<link rel=preconnect href='{u}'>",
    "dns-prefetch": "<link rel=dns-prefetch href='{u}'>",
    "manifest": "<link rel=manifest href='{u}'>",
    # What scripts open.
    "fetch": _script(_FETCH),
    "fetch keepalive": _script("fetch('{u}', {mode: 'no-cors', keepalive: true}).catch(() => 0)"),
    "xhr": _script("const x = new XMLHttpRequest(); x.open('GET', '{u}'); x.send()"),
    "xhr post": _script("const x = new XMLHttpRequest(); x.open('POST', '{u}'); x.send('a')"),
    "beacon": _script("navigator.sendBeacon('{u}', 'x')"),
    "ping": "<a id=a href='#' ping='{u}'>x</a>" + _script("document.getElementById('a').click()"),
    "eventsource": _script("new EventSource('{u}')"),
    "websocket": _script("new WebSocket('ws://{h}/')"),
    "secure websocket": _script("new WebSocket('wss://{h}/')"),
    "websocketstream": _script("new WebSocketStream('ws://{h}/').opened.catch(() => 0)"),
    "webtransport": _script("new WebTransport('https://{h}/').ready.catch(() => 0)"),
    "fetchlater": _script("fetchLater('{u}', {activateAfter: 0})"),
    "https fetch": _script("fetch('https://{h}/', {mode: 'no-cors'}).catch(() => 0)"),
    # Scripts out of the page's sight.
    "worker fetch": _worker(_FETCH),
    "worker importscripts": _worker("importScripts('{u}')"),
    "worker websocket": _worker("new WebSocket('ws://{h}/')"),
    "sharedworker": _worker(_FETCH, "SharedWorker"),
    "service worker": _script("navigator.serviceWorker.register('/sw.js?{u}').catch(() => 0)"),
    # WebRTC: packets beside HTTP.
    "stun": _rtc("{urls: 'stun:{h}'}"),
    "turn udp": _rtc("{urls: 'turn:{h}?transport=udp', username: 'u', credential: 'p'}"),
    "turn tcp": _rtc("{urls: 'turn:{h}?transport=tcp', username: 'u', credential: 'p'}"),
    "turns": _rtc("{urls: 'turns:{h}?transport=tcp', username: 'u', credential: 'p'}"),
    # Frames that go elsewhere.
    "frame location": _script("location = '{u}'"),
    "frame meta refresh": "<meta http-equiv=refresh content='0;url={u}'>",
    "frame form": "<form id=f method=post action='{u}'></form>" + _script("f.submit()"),
    "popup": _script("window.open('{u}')"),
    "download": "<a id=a download href='{u}'>x</a>" + _script("document.getElementById('a').click()"),
    # Documents without a server.
    "srcdoc": "<iframe srcdoc=\"<img src='{u}'>\"></iframe>",
    "data document": "<iframe src=\"data:text/html,<img src='{u}'>\"></iframe>",
    "blob document": "<iframe id=f></iframe>"
    + _script("f.src = URL.createObjectURL(new Blob([\"<img src='{u}'>\"], {type: 'text/html'}))"),
    "javascript url": "<iframe src=\"javascript:'<img src={u}>'\"></iframe>",
    # Redirects.
    "redirect 301 image": "<img src='/redirect/301?{u}'>",
    "redirect 302 fetch": _script("fetch('/redirect/302?{u}', {mode: 'no-cors'}).catch(() => 0)"),
    "redirect 303 frame": "<iframe src='/redirect/303?{u}'></iframe>",
    "redirect 307 script": "<script src='/redirect/307?{u}'></script>",
    "redirect 308 post": _script(
        "fetch('/redirect/308?{u}', {method: 'POST', mode: 'no-cors'}).catch(() => 0)"
    ),
    "redirect eventsource": _script("new EventSource('/redirect/302?{u}')"),
    "redirect worker": _worker(
        "fetch(`${location.origin.replace('blob:', '')}/redirect/302?{u}`).catch(() => 0)"
    ),
    # Other spellings of the address, and names that lead to it.
    "decimal host": "<img src='http://2130706433:{p}/'>",
    "hex host": "<img src='http://0x7f000001:{p}/'>",
    "octal host": "<img src='http://0177.0.0.1:{p}/'>",
    "short host": "<img src='http://127.1:{p}/'>",
    "zero host": "<img src='http://0.0.0.0:{p}/'>",
    "ipv6 loopback": "<img src='http://[::1]:{p}/'>",
    "ipv6 mapped": "<img src='http://[::ffff:127.0.0.1]:{p}/'>",
    "ipv6 mapped hex": "<img src='http://[::ffff:7f00:1]:{p}/'>",
    "full-width host": "<img src='http://１２７.0.0.1:{p}/'>",
    "localhost": "<img src='http://localhost:{p}/'>",
    "name under localhost": "<img src='http://app.localhost:{p}/'>",
    "name to inside": "<img src='http://inside.example.org:{p}/'>",
    "rebinding name": _script(
        "(async () => { for (let i = 0; i < 3; i++)"
        " await fetch('http://rebind.example.org:{p}/' + i, {mode: 'no-cors'}).catch(() => 0) })()"
    ),
    "name to both": "<img src='http://mixed.example.org:{p}/'>",
    "rebinding websocket": _script("new WebSocket('ws://rebind.example.org:{p}/')"),
    # Other schemes.
    "ftp": "<iframe src='ftp://{h}/'></iframe>",
    "view-source": _script("window.open('view-source:{u}')"),
    "gopher": "<img src='gopher://{h}/'>",
}

#: Each a page of its own: where it goes as a whole.
TOP: Final[Mapping[str, str]] = {
    "location": _script("location = '{u}'"),
    "meta refresh": "<meta http-equiv=refresh content='0;url={u}'>",
    "form": "<form id=f method=post action='{u}'></form>" + _script("f.submit()"),
    "speculation prefetch": "<script type=speculationrules>"
    '{"prefetch": [{"source": "list", "urls": ["{u}"], "requires": []}]}</script>',
    "speculation prerender": "<script type=speculationrules>"
    '{"prerender": [{"source": "list", "urls": ["/redirect/302?{u}"]}]}</script>',
    "redirect 301 page": "",
    "redirect 302 page": "",
    "redirect 307 page": "",
}


@dataclass
class Canary:
    """Ports nobody may reach: one for each vector, TCP on 127.0.0.1 and ::1, UDP on 127.0.0.1."""

    ports: dict[str, int] = field(default_factory=dict)
    reached: set[str] = field(default_factory=set)
    #: A set of waiters would be more than is needed: set whenever something came.
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def came(self, name: str) -> None:
        self.reached.add(name)
        self.news.set()

    def page(self, name: str, text: str) -> str:
        port = self.ports[name]
        body = text.replace("{u}", f"http://127.0.0.1:{port}/x").replace("{h}", f"127.0.0.1:{port}")
        body = body.replace("{p}", str(port))
        return f"<!DOCTYPE html><html><body>{body}<p>a page</p></body></html>"


class _Packets(asyncio.DatagramProtocol):
    def __init__(self, canary: Canary, name: str) -> None:
        self._canary, self._name = canary, name

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._canary.came(self._name)


@contextlib.asynccontextmanager
async def open_canary(names: list[str]) -> AsyncIterator[Canary]:
    canary = Canary()
    loop = asyncio.get_running_loop()
    async with contextlib.AsyncExitStack() as stack:
        for name in names:

            async def came(
                reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str = name
            ) -> None:
                canary.came(name)
                with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                    await reader.readuntil(b"\r\n\r\n")
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                writer.close()

            server = await asyncio.start_server(came, "127.0.0.1", 0)
            stack.callback(server.close)
            port = canary.ports[name] = server.sockets[0].getsockname()[1]
            with contextlib.suppress(OSError):  # a machine without IPv6
                stack.callback((await asyncio.start_server(came, "::1", port, family=socket.AF_INET6)).close)
            transport, _ = await loop.create_datagram_endpoint(
                lambda name=name: _Packets(canary, name),  # type: ignore[misc] # mypy: a lambda's default
                ("127.0.0.1", port),
            )
            stack.callback(transport.close)
        yield canary


def put_up(site: Site, canary: Canary) -> dict[str, str]:
    """The pages on `site`; returns what is to be opened, each as a page of its own."""

    async def redirect(request: object, writer: asyncio.StreamWriter) -> None:
        target = request.target.partition("?")[2]  # type: ignore[attr-defined] # a Request
        status = request.path.rpartition("/")[2]  # type: ignore[attr-defined] # the same
        head = f"HTTP/1.1 {status} x\r\nLocation: {target}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        writer.write(head.encode("latin-1"))
        await writer.drain()
        writer.close()

    for status in (301, 302, 303, 307, 308):
        site.route(f"/redirect/{status}", redirect)
    site.route(
        "/sw.js",
        Reply(
            body="const u = location.search.slice(1); fetch(u, {mode: 'no-cors'})",
            content_type="text/javascript",
        ),
    )
    for number, (name, text) in enumerate(FRAMED.items()):
        site.route(f"/v/{number}", Reply(body=canary.page(name, text)))
    frames = "".join(f"<iframe src='/v/{number}' width=9 height=9></iframe>" for number in range(len(FRAMED)))
    opened = {
        "hub": site.route("/hub", Reply(body=f"<!DOCTYPE html><html><body><p>hub</p>{frames}</body></html>"))
    }
    for number, (name, text) in enumerate(TOP.items()):
        if name.startswith("redirect "):
            target = f"http://127.0.0.1:{canary.ports[name]}/x"
            opened[name] = f"{site.url}/redirect/{name.split()[1]}?{target}"
        else:
            opened[name] = site.route(f"/t/{number}", Reply(body=canary.page(name, text)))
    return opened
