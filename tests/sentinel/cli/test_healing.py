"""`rules heal`: what healed a rule, shown, kept, undone."""

from __future__ import annotations

import pytest

from sentinel.cli.exits import Exit
from sentinel.cli.healing import document
from sentinel.model import Healed
from tests.end_to_end.shapes import checked
from tests.sentinel.cli.conftest import Run


@pytest.fixture
def rule(run: Run, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("rules") / "rules.yaml"
    path.write_text(
        "rules:\n  - {id: widget, url: 'https://shop.example.com/widget', type: price,\n"
        "     extraction: {method: css, selector: '.price'}, schedule: {intervalSeconds: 300}}\n"
    )
    assert run("rules", "import", str(path)).code == Exit.DONE
    return "widget"


def test_a_rule_that_works_by_its_own_selectors_has_nothing_to_show(run: Run, rule: str) -> None:
    for option in ((), ("--accept",), ("--undo",)):
        result = run("rules", "heal", rule, *option)

        assert (result.code, result.out) == (Exit.DONE, "")
        assert "works by its own selectors" in result.err


def test_a_rule_that_is_not_there_and_both_options_are_refused(run: Run, rule: str) -> None:
    assert run("rules", "heal", "no-such-rule").code == Exit.NOT_FOUND
    assert run("rules", "heal", rule, "--accept", "--undo").code == Exit.USAGE


def test_the_document_is_as_the_docs_say() -> None:

    healed = Healed(selector="span.amount", instead_of="css '.price'", score=0.9)
    assert checked(document("widget", "", healed) | {"done": None}) == "sentinel.healed/1"
