"""The histories through Sentinel and, where they are installed, through its peers: a table of who told what.

python -m tests.scenarios [--peer TOOL=PROGRAM]... [-v] [NAME...]

TOOL is urlwatch, webchanges or changedetection; `./dev bench` installs them below .venv/bench.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from tests.scenarios import breaks, browsers, changedetection, changes, noise, peers
from tests.scenarios.history import History
from tests.scenarios.stage import Played, Stage, addresses
from tests.support.http import serve_in_thread
from tests.support.servers import SharedServer, find_valkey

HISTORIES: list[History] = [*changes.HISTORIES, *noise.HISTORIES, *breaks.HISTORIES, *browsers.HISTORIES]


def ours(histories: list[History]) -> list[Played]:
    """Through the real worker on a Redis of its own."""
    program = find_valkey()
    assert program is not None, "no Valkey: ./dev setup"
    server = SharedServer(program)
    try:
        with (
            serve_in_thread(also=addresses(histories)) as site,
            tempfile.TemporaryDirectory() as folder,
        ):
            return Stage(histories, site, server.fresh_url(), Path(folder)).play()
    finally:
        server.stop()


def theirs(tool: str, program: Path, histories: list[History]) -> peers.Score:
    """Through a peer."""
    with (
        serve_in_thread(also=addresses(histories)) as site,
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
    ):
        if tool == "changedetection":
            return changedetection.play(program, histories, site, Path(folder))
        return peers.play(tool, program, histories, site, Path(folder))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*")
    parser.add_argument("--peer", action="append", default=[], metavar="TOOL=PROGRAM")
    parser.add_argument("--without-browser", action="store_true")
    parser.add_argument("-v", "--verbose", action="store_true")
    given = parser.parse_args()
    chosen = [
        one for one in HISTORIES
        if (not given.names or one.name in given.names) and not (given.without_browser and one.browser)
    ]  # fmt: skip
    played = ours(chosen)
    wrong = [line for one in played for part in (*one.unmatched(), one.wrong_codes()) for line in part]
    due = {kind: sum(one.truth(kind) for one in chosen) for kind in ("change", "health", "recovery")}
    false = sum(len(one.unmatched()[0]) for one in played)
    missed = {
        kind: sum(f": {kind} at" in line for one in played for line in one.unmatched()[1]) for kind in due
    }
    print(
        "tool        histories  false alerts  changes found  breaks told  told again  single bad checks told"
    )
    print(
        f"sentinel    {len(chosen):9}  {false:12}  {due['change'] - missed['change']:6} of {due['change']:<4}"
        f"  {due['health'] - missed['health']:4} of {due['health']:<4}  {0:10}  {0:22}"
    )
    for pair in given.peer:
        tool, _, program = pair.partition("=")
        score = theirs(tool, Path(program).absolute(), chosen)
        print(
            f"{tool:12}{score.histories:9}  {len(score.false_changes):12}  "
            f"{score.changes_found:6} of {score.changes:<4}  {score.breaks_told:4} of {score.breaks:<4}"
            f"  {score.repeated:10}  {score.blips_told:22}  ({score.left_out} cannot be said)"
        )
        if given.verbose:
            print(*(f"  {line}" for line in score.false_changes), sep="\n")
    if given.verbose or wrong:
        print(*(f"  sentinel: {line}" for line in wrong), sep="\n")


if __name__ == "__main__":
    main()
