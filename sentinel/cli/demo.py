"""`demo`: a sample site that changes, a rule on it, a receiver for alerts, and the worker between them."""

from __future__ import annotations

import json
import logging
import shutil
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread
import typer

from sentinel.cli.context import Cli, cli_of
from sentinel.cli.exits import CommandError, Exit
from sentinel.cli.parts import verbs
from sentinel.settings import Settings

if TYPE_CHECKING:
    from sentinel.app import Parts
    from sentinel.cli.output import Output

app = verbs()

#: Seconds one step may take before the demo says that it failed.
PATIENCE: Final = 30.0
#: Seconds between looks at whether a step is done.
LOOK: Final = 0.05
_RULE: Final = "widget-price"
_PAGE: Final = """<!doctype html><html><head><title>Widget</title></head><body>
<h1>Widget</h1><p>Steel and glass, made to last. Free delivery from 50 €.</p>
<p>Price: <span class="price">{price}</span></p><p>Seen by {visitors} visitors.</p></body></html>"""
_RULES: Final = """workspace: {{id: demo, timezone: Europe/Bratislava}}
channels:
  - {{id: receiver, type: webhook, url: "{receiver}", secret_env: DEMO_WEBHOOK_SECRET}}
rules:
  - id: widget-price
    url: {site}
    type: price
    extraction: {{method: css, selector: ".price"}}
    normalization: {{kind: price, currency: EUR}}
    schedule: {{intervalSeconds: 1}}
    alertPolicy:
      requireConsecutive: 2
      channels: [receiver]
      conditions: [{{id: drop, type: price_drop_percent, value: 10, severity: warning}}]
"""


class Street:
    """The sample site and the receiver: what one shows, and what the other was told."""

    def __init__(self) -> None:
        self.price = "129,99 €"
        self.visitors = 0
        self.received: list[tuple[dict[str, str], bytes]] = []

    @contextmanager
    def open(self) -> Iterator[str]:
        """Serve both on the loopback address; yields the base URL."""
        street = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                street.visitors += 1
                self._answer(_PAGE.format(price=street.price, visitors=street.visitors).encode())

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                street.received.append(({k.lower(): v for k, v in self.headers.items()}, body))
                self._answer(b"thanks")

            def _answer(self, body: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing: the demo tells what matters."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            server.server_close()


@app.command()
def demo(context: typer.Context) -> Exit:
    """Show a change travel from a page to a delivered webhook."""
    from sentinel.app import new_webhook_secret  # noqa: PLC0415 - brings everything, which --help does without

    cli = cli_of(context)
    folder = cli.settings.state_dir / "demo"
    cli.log(logging.WARNING)
    if folder.exists():
        shutil.rmtree(folder)
    environ = {"SENTINEL_ALLOW_PRIVATE_NETWORKS": "true", "DEMO_WEBHOOK_SECRET": new_webhook_secret()}
    settings = Settings.load({"state_dir": str(folder), "embedded": True}, environ)
    return anyio.run(_show, cli, settings, environ, folder)


async def _show(cli: Cli, settings: Settings, environ: dict[str, str], folder: Path) -> Exit:
    from sentinel.app import RunOptions, opened, work  # noqa: PLC0415 - as above

    out = cli.out
    street = Street()
    with street.open() as base:
        async with opened(settings, environ) as parts, anyio.create_task_group() as beside:
            facts = await parts.broker.ping()
            out.line(f"1. {facts['server']} {facts['version']} and SQLite run in {folder}")
            await _import(out, parts, base)

            async def run() -> None:
                await work(parts, RunOptions(handle_signals=False))

            beside.start_soon(run)
            await _story(out, parts, street)
            beside.cancel_scope.cancel()
    out.line("")
    out.line("Look next:")
    # As it was called: the program of a fresh .venv is not on anybody's PATH.
    called = "python -m sentinel.cli.main" if sys.argv[0].endswith(".py") else sys.argv[0]
    program = f"{called} --state-dir {folder}"
    out.line(f"  {program} history {_RULE}      what each check read")
    out.line(f"  {program} alerts list               the alert and its delivery")
    out.line(f"  {program} stats                     the streams")
    out.line("  README.md                                    rules, commands, guarantees")
    return Exit.DONE


async def _import(out: Output, parts: Parts, base: str) -> None:
    """The rule, from the text a person would write."""
    from sentinel import rulefile  # noqa: PLC0415 - as above
    from sentinel.app import policy_of  # noqa: PLC0415 - as above

    text = _RULES.format(site=f"{base}/widget", receiver=f"{base}/hook")
    file = rulefile.load(text, policy_of(parts.settings))
    now = parts.clock.time()
    await parts.store.import_rules(file, now=now, first_due=lambda _: now)
    out.line("2. A rule, as in `sentinel-worker rules import rules.yaml`:")
    for line in text.splitlines():
        out.line(f"     {line}")


async def _story(out: Output, parts: Parts, street: Street) -> None:
    """Stable, changed, confirmed, told."""

    async def believed() -> bool:
        return (await parts.store.rule(_RULE)).state.stable is not None

    await _until(out, believed, "the first check")
    first = (await parts.store.history(_RULE, 1))[0]
    out.line(f"3. The first check read {first.raw!r}; it is the stable value, and nobody is told.")
    street.price = "99,00 €"
    out.line("4. The page now says 99,00 €. One reading is not believed; the next one confirms it ...")

    async def told() -> bool:
        return bool(street.received)

    await _until(out, told, "the webhook")
    headers, body = street.received[0]
    out.line("5. The receiver was sent:")
    for name in ("webhook-id", "webhook-timestamp", "webhook-signature"):
        out.line(f"     {name}: {headers.get(name, '')}")
    for line in json.dumps(json.loads(body), indent=2, ensure_ascii=False).splitlines():
        out.line(f"     {line}")

    async def recorded() -> bool:
        alerts = await parts.store.alerts(1)
        return bool(alerts) and alerts[0].state == "sent"

    await _until(out, recorded, "the delivery's row")
    out.line("6. Its delivery is recorded as sent; the same price never tells again.")


async def _until(out: Output, done: Callable[[], Awaitable[bool]], what: str) -> None:
    """Wait for something that takes a moment. Raises CommandError when it does not come."""
    out.stdout.flush()  # into a file or a pipe too, the story is told while it happens
    with anyio.move_on_after(PATIENCE):
        while not await done():  # noqa: ASYNC110 - the row is in a database; nobody calls us
            await anyio.sleep(LOOK)
        return
    raise CommandError(Exit.FAILED, f"{what} did not happen within {PATIENCE:g} s", "run it with --verbose")
