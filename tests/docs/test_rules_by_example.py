"""docs/rules-by-example.md: each rule on its two pages tells what the page says it would."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from sentinel.cli.exits import Exit
from sentinel.cli.main import main
from tests.support.documents import REPOSITORY, Block, blocks

PAGE = REPOSITORY / "docs/rules-by-example.md"
RULES = blocks("yaml", paths=[PAGE])


def beside(rule: Block, ending: str) -> Block:
    """The block of the same example with that ending of its name."""
    stem = rule.name.removesuffix(".yaml")
    (found,) = [
        block
        for block in blocks("html", "json", "text", paths=[PAGE])
        if block.name.rpartition(".")[0] == f"{stem}{ending}" or block.name == f"{stem}{ending}"
    ]
    return found


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_an_example_tells_what_it_says(rule: Block, tmp_path: Path) -> None:
    before, after, told = beside(rule, "-before"), beside(rule, "-after"), beside(rule, ".told")
    for block in (rule, before, after):
        (tmp_path / block.name).write_text(block.text)
    files = [str(tmp_path / block.name) for block in (rule, after, before)]
    streams = {name: io.StringIO() for name in ("stdin", "stdout", "stderr")}

    code = main(
        ["rules", "test", files[0], "--html", files[1], "--against", files[2], "--json"],
        environ={"SENTINEL_STATE_DIR": str(tmp_path / "state")},
        streams=streams,
    )

    assert code == Exit.DONE, streams["stderr"].getvalue()
    document = json.loads(streams["stdout"].getvalue())
    steps = {step["name"]: step["detail"] for step in document["steps"]}
    fired = ", ".join(one["condition"] for one in document["would_alert"])
    assert told.text.splitlines() == [line for line in (steps["compare"], fired) if line]


def test_there_is_an_example_for_every_simple_type() -> None:
    types = {
        line.split()[1] for rule in RULES for line in rule.text.splitlines() if line.startswith("    type: ")
    }
    assert types >= {"price", "availability", "number", "text", "json_field"}
