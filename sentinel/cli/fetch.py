"""`fetch`: what the fetcher makes of a URL. Nothing is stored; the guard applies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Final

import anyio
import msgspec
import typer

from sentinel.backing import fetcher_of
from sentinel.cli.context import Cli, cli_of
from sentinel.cli.exits import CommandError, Exit
from sentinel.cli.logs import redact
from sentinel.cli.parts import verbs
from sentinel.cli.values import duration
from sentinel.fetch.fetcher import Fetcher, FetchFailure
from sentinel.model import Fetched, FetchModeName, FetchProfile

app = verbs()

#: URLs fetched at once; results come in the order the URLs were given.
AT_ONCE: Final = 10

#: The guard's own answers.
_GUARD: Final = ("FETCH_REFUSED_ADDRESS", "FETCH_BAD_URL")


class Result(msgspec.Struct, frozen=True):
    """What came of one URL."""

    url: str
    page: Fetched | None
    error_code: str | None = None
    detail: str | None = None

    @property
    def allowed(self) -> bool:
        """The guard let it be dialled."""
        return self.page is not None or self.error_code not in _GUARD


@app.command()
def fetch(
    context: typer.Context,
    *,
    urls: Annotated[list[str], typer.Argument(metavar="URL...", help="URLs; - reads one a line from stdin.")],
    mode: Annotated[FetchModeName, typer.Option(help="Way to fetch.")] = "auto",
    body: Annotated[Path | None, typer.Option(help="Write the page's body to this file (one URL).")] = None,
    timeout: Annotated[
        float | None, typer.Option(parser=duration, metavar="DURATION", help="For one URL in all.")
    ] = None,
) -> int:
    """Show what the fetcher makes of a URL; exit 1 where one gave no page."""
    cli = cli_of(context)
    if body is not None and (len(urls) != 1 or urls == ["-"]):
        raise typer.BadParameter("--body takes the body of one URL")
    if timeout is not None and not 0 < timeout <= 300:
        raise typer.BadParameter("--timeout is from above 0 to 300 seconds")
    profile = FetchProfile(mode=mode, timeout=timeout or FetchProfile().timeout)
    return cli.run(lambda: _fetch(cli, _all(cli, urls), profile, body))


def _all(cli: Cli, urls: Sequence[str]) -> Iterator[str]:
    for url in urls:
        if url == "-":
            yield from (line.strip() for line in cli.stdin if line.strip())
        else:
            yield url


async def _fetch(cli: Cli, urls: Iterable[str], profile: FetchProfile, body: Path | None) -> int:
    failed = False
    async with fetcher_of(cli.settings) as fetcher:
        while batch := list(islice(urls, AT_ONCE)):
            for result in await _fetch_batch(fetcher, batch, profile):
                failed = failed or result.error_code is not None
                _tell(cli, result)
                if body is not None and result.page is not None:
                    _write(body, result.page)
                    cli.out.say(f"{len(result.page.body)} bytes written to {body}")
    return Exit.FAILED if failed else Exit.DONE


async def _fetch_batch(fetcher: Fetcher, urls: Sequence[str], profile: FetchProfile) -> list[Result]:
    found: dict[int, Result] = {}

    async def one(place: int, url: str) -> None:
        found[place] = await _fetch_one(fetcher, url, profile)

    async with anyio.create_task_group() as group:
        for place, url in enumerate(urls):
            group.start_soon(one, place, url)
    return [found[place] for place in range(len(urls))]


async def _fetch_one(fetcher: Fetcher, url: str, profile: FetchProfile) -> Result:
    try:
        page = await fetcher.fetch(url, profile)
    except FetchFailure as failure:
        return Result(url, failure.partial, failure.code, failure.detail)
    # A wall that was sent as a good page ends a check all the same.
    return Result(url, page, page.blocked, page.block_detail or None)


def _write(path: Path, page: Fetched) -> None:
    try:
        path.write_bytes(page.body)
    except OSError as error:
        raise CommandError(Exit.FAILED, f"{path} cannot be written: {error.strerror}") from error


def _tell(cli: Cli, result: Result) -> None:
    if cli.out.json:
        cli.out.document(fetch_line(result))
        return
    page, url = result.page, redact(result.url)
    if result.error_code is None and page is not None:
        seconds = page.timings.get("total", 0.0)
        cli.out.line(f"{url}  {page.status}  {page.wire_bytes:,} bytes  {seconds:.2f} s  {page.mode}")
        if page.final_url != result.url:
            cli.out.line(f"  ended at {page.final_url}")
        _tell_why(cli, page)
        return
    cli.out.line(f"{url}  {result.error_code}  {result.detail or ''}")
    _tell_why(cli, page)
    if not result.allowed:
        cli.out.line("  the guard refused it; nothing was dialled")


def _tell_why(cli: Cli, page: Fetched | None) -> None:
    """Why the browser, where it was not asked for."""
    if page is not None and page.fallback_reason:
        cli.out.line(f"  {page.mode}, because: {page.fallback_reason}")


def fetch_line(result: Result) -> dict[str, object]:
    """`sentinel.fetch/1`."""
    page = result.page
    code = result.error_code
    blocked = page.blocked if page is not None else None
    if blocked is None and code is not None and code.startswith(("BLOCK_", "PAGE_")):
        blocked = code
    return {
        "schema": "sentinel.fetch/1",
        "url": redact(result.url),
        "allowed": result.allowed,
        "error_code": code,
        "detail": result.detail,
        "status": (page.status or None) if page is not None else None,
        "final_url": page.final_url if page is not None else None,
        "mode": page.mode if page is not None else None,
        "fallback_reason": page.fallback_reason if page is not None else None,
        "blocked": blocked,
        "bytes": page.wire_bytes if page is not None else None,
        "timings": page.timings if page is not None else {},
    }
