"""`history RULE --screenshot RUN`, `--body RUN`: what was kept of a check, as files."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import msgspec

from sentinel.backing import blobs_of
from sentinel.cli.context import Cli
from sentinel.cli.exits import CommandError, Exit
from sentinel.store import Store

_JPEG: Final = b"\xff\xd8\xff"
_NOT_KEPT: Final = {
    "screenshot": (
        "no picture was drawn of run {run}",
        "fetch.screenshotOnChange: true draws each confirmed change",
    ),
    "body": (
        "no page was kept of run {run}",
        "kept are the pages of changes and of checks that failed",
    ),
}


class Kept(msgspec.Struct, frozen=True):
    """What is asked for of which run."""

    kind: Literal["screenshot", "body"]
    run_id: int


async def write_kept(cli: Cli, store: Store, rule_id: str, wanted: Kept, out: Path | None) -> None:
    """Write what `wanted` names. `out`: None is a name of its own in this folder.

    Raises CommandError where nothing was kept, or is not any more.
    """
    kind, run_id = wanted.kind, str(wanted.run_id)
    found = await store.runs_of(rule_id, [wanted.run_id])
    if not found:
        raise CommandError(
            Exit.NOT_FOUND, f"{rule_id} has no run {run_id}", f"sentinel-worker history {rule_id}"
        )
    result = found[wanted.run_id].result
    if kind == "body":
        blobs_of_it = {"": result.body_blob}
    else:
        blobs_of_it = {"": result.screenshot_blob, "-element": result.element_blob}
    if not any(blobs_of_it.values()):
        message, hint = _NOT_KEPT[kind]
        raise CommandError(Exit.NOT_FOUND, message.format(run=run_id), hint)
    blobs = blobs_of(cli.settings)
    count = 0
    for part, digest in blobs_of_it.items():
        data = None if digest is None else await blobs.get(digest)
        if data is None:
            continue
        path = _path(rule_id, run_id, part, _suffix(data, kind), out)
        path.write_bytes(data)
        count += 1
        if cli.out.json:
            about = {"schema": "sentinel.kept/1", "rule_id": rule_id, "run_id": run_id}
            cli.out.document(about | {"kind": f"{kind}{part}", "path": str(path), "bytes": len(data)})
        cli.out.say(f"{path}: {len(data):,} bytes")
    if not count:
        raise CommandError(
            Exit.NOT_FOUND,
            f"what was kept of run {run_id} is gone",
            "SENTINEL_KEEP_MIB is the room there is for pages and pictures",
        )


def _path(rule_id: str, run_id: str, part: str, suffix: str, out: Path | None) -> Path:
    if out is None:
        return Path(f"{rule_id}-{run_id}{part}{suffix}")
    return out if not part else out.with_name(f"{out.stem}{part}{out.suffix}")


def _suffix(data: bytes, kind: str) -> str:
    if kind == "screenshot":
        return ".jpg" if data.startswith(_JPEG) else ".png"
    first = data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    return {b"<": ".html", b"{": ".json", b"[": ".json"}.get(first, ".txt")
