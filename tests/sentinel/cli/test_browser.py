"""The browser on the command line: what it was asked for, why, and what is missing without it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sentinel.cli.exits import Exit
from tests.sentinel.cli.conftest import Run
from tests.sentinel.fetch.browsing import the_program
from tests.support.http import Reply, Site

ALLOWED = {"SENTINEL_ALLOW_PRIVATE_NETWORKS": "true"}
NONE = {**ALLOWED, "SENTINEL_BROWSER": "none"}


@pytest.fixture
def late(thread_site: Site) -> str:
    """A page whose price comes from a script, a little later."""
    script = "setTimeout(() => document.querySelector('.price').append('19,99 €'), 100)"
    text = "All about the widget. " * 40
    return thread_site.route("/", Reply(body=f"<p>{text}</p><b class=price></b><script>{script}</script>"))


@pytest.fixture
def file(late: str, tmp_path: Path) -> Path:
    path = tmp_path / "rules.yaml"
    path.write_text(f"""
rules:
  - {{id: widget, url: "{late}", type: price, fetch: {{screenshotOnChange: true}},
     extraction: {{method: css, selector: .price}}}}
  - {{id: other, url: "{late}", type: price, fetch: {{mode: headless}},
     extraction: {{method: css, selector: .price}}}}
""")
    return path


def test_a_rule_is_tried_by_a_browser_where_a_check_would_be(
    run: Run, file: Path, request: pytest.FixtureRequest
) -> None:
    the_program(request)
    result = run("rules", "test", str(file), "--rule", "widget", "--json", env=ALLOWED)
    (line,) = result.lines
    assert (result.code, line["value"]["amount"]) == (Exit.DONE, "19.99")
    assert any("over http: EXTRACT_EMPTY_VALUE" in step["detail"] for step in line["steps"])


def test_fetch_prints_the_mode_it_used(run: Run, late: str, request: pytest.FixtureRequest) -> None:
    the_program(request)
    result = run("fetch", late, "--mode", "headless", "--json", env=ALLOWED)
    assert (result.lines[0]["mode"], result.lines[0]["status"], result.code) == ("headless", 200, Exit.DONE)


def test_without_a_browser_an_import_warns_of_rules_that_need_one(run: Run, file: Path) -> None:
    result = run("rules", "import", str(file), env=NONE)
    assert result.code == Exit.DONE
    assert (
        "warning: these rules need a browser: other; here is none: the browser is switched off" in result.err
    )
    assert "pictures, which a browser draws: widget" in result.err


def test_without_a_browser_headless_says_so_and_health_is_not_ill(run: Run, late: str) -> None:
    result = run("fetch", late, "--mode", "headless", "--json", env=NONE)
    assert (result.lines[0]["error_code"], result.code) == ("SYSTEM_BROWSER", Exit.FAILED)
    parts = json.loads(run("health", "--json", "--redis-url", "redis://127.0.0.1:1", env=NONE).out)["parts"]
    (browser,) = (part for part in parts if part["name"] == "browser")
    assert browser["ok"]
    assert "switched off" in browser["detail"]
