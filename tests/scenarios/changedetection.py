"""The same histories through changedetection.io: its own server, driven by its API, telling a webhook of ours."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.scenarios import peers
from tests.scenarios.history import History, shop
from tests.scenarios.peers import Score
from tests.scenarios.stage import addresses
from tests.support.http import Reply, Site

#: Seconds until every page was fetched (of some, after an error, it does not ask again at once), and in
#: which a notification follows its check.
PATIENCE = 20.0
SETTLED = 2.5


def play(program: Path, histories: Sequence[History], site: Site, folder: Path) -> Score:
    """All steps of what it can express; told is what its webhook was sent."""
    site.route("/moved", shop("€10"))
    able = {one.name: one for one in histories if _filters(one) is not None and not one.browser}
    where = dict(zip((one.name for one in histories), addresses(histories), strict=True))
    score = Score("changedetection", len(able), sum(not one.browser for one in histories) - len(able))
    told: dict[str, list[set[str]]] = {name: [] for name in able}
    with _server(program, folder) as ask:
        for uuid in dict(ask("GET", "/watch")):
            ask("DELETE", f"/watch/{uuid}")
        for name, history in able.items():
            site.route(f"/{name}", history.steps[0].shows)
            site.route(f"/told/{name}", Reply(status=204))
        for name, history in able.items():
            ask(
                "POST",
                "/watch",
                {
                    "url": f"http://{where[name]}:{site.port}/{name}",
                    "title": name,
                    "include_filters": _filters(history),
                    "trim_text_whitespace": True,
                    "time_between_check": {"days": 1},
                    "fetch_backend": "html_requests",
                    "notification_urls": [f"json://127.0.0.1:{site.port}/told/{name}"],
                    "notification_title": "CHANGED",
                },
            )
        for number in range(max(len(one.steps) for one in able.values())):
            for name, history in able.items():
                site.route(f"/{name}", history.steps[min(number, len(history.steps) - 1)].shows)
            before = len(site.requests) if number else 0
            if number:  # the first check is made when a watch is
                ask("GET", "/watch?recheck_all=1")
            with contextlib.suppress(TimeoutError):
                _until(lambda: _all_asked(site, before, able), PATIENCE)  # noqa: B023 - asked at once
            time.sleep(SETTLED)
            for name in able:
                told[name].append(_told(site, before, name))
    for name, history in able.items():
        peers.judge(score, history, told[name][: len(history.steps)])
    return score


def _filters(history: History) -> list[str] | None:
    """What `include_filters` says; None: it cannot be said."""
    said = peers.filters(history)
    if said is None:
        return None
    match said[0]:
        case {"css": selector}:
            return [selector]
        case {"xpath": selector}:
            return [f"xpath:{selector}"]
    return []


def _told(site: Site, before: int, name: str) -> set[str]:
    """What its webhook of one watch was sent since."""
    bodies = [json.loads(one.body) for one in site.requests[before:] if one.path == f"/told/{name}"]
    return {"CHANGED" if "CHANGED" in body.get("title", "") else "ERROR" for body in bodies}


def _all_asked(site: Site, before: int, names: Iterable[str]) -> bool:
    """Every page was fetched since; of a check that ends without an answer its API tells nothing."""
    paths = {request.path for request in site.requests[before:]}
    return all(f"/{name}" in paths for name in names)


def _until(true: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds:g} s")
        time.sleep(0.3)


@contextlib.contextmanager
def _server(program: Path, folder: Path) -> Iterator[Callable[..., Any]]:  # Any: JSON
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    store = folder / "store"
    store.mkdir()
    environ = {
        **os.environ,
        "FETCH_WORKERS": "20",
        "ALLOW_IANA_RESTRICTED_ADDRESSES": "true",
        "MINIMUM_SECONDS_RECHECK_TIME": "0",
        "DISABLE_VERSION_CHECK": "true",
    }
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [program, "-d", store, "-p", str(port), "-h", "127.0.0.1"],
            env=environ, cwd=folder, stdout=log, stderr=log,
        )  # fmt: skip

    def key() -> str | None:
        for file in store.glob("*.json"):
            with contextlib.suppress(ValueError, KeyError, TypeError):
                return str(json.loads(file.read_text())["settings"]["application"]["api_access_token"])
        return None

    def ask(method: str, path: str, body: object = None) -> Any:  # Any: JSON
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/api/v1{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"x-api-key": key() or "", "Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - ours
            text = answer.read()
        return json.loads(text) if text.strip() else None

    def answers() -> bool:
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            ask("GET", "/watch")
            return True
        return False

    try:
        _until(lambda: key() is not None, 60)
        _until(answers, 60)
        yield ask
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(15)
        process.kill()
        process.wait()
