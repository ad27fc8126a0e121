"""The same histories through urlwatch and webchanges, as a careful user would set them up.

Each tool reads the element by CSS or XPath and turns it to text. What a rule says beyond that
(conditions, fields, rows) they cannot say: those histories are left out, and counted. A change is told
where a report says CHANGED, at the check of the truth or the two before (they believe a value at once); a
break where one says ERROR. Where each tool lies: `bench/requirements`, `./dev bench --help`.
"""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.scenarios.history import History, shop
from tests.scenarios.stage import addresses
from tests.support.http import Reply, Site

#: What they print of a job that has something to tell.
REPORT = re.compile(r"^(?:\d+\. )?(CHANGED|ERROR): ([a-z0-9-]+)", re.MULTILINE)


def filters(history: History) -> list[Any] | None:  # noqa: PLR0911 - one a method; Any: YAML
    """What reads the value there; None: it cannot be said."""
    rule = history.rule
    if (
        rule["type"] == "record"
        or rule["alertPolicy"].get("conditions")
        or "cooldownSeconds" in rule["alertPolicy"]
    ):
        return None
    how = rule["extraction"]
    match how["method"]:
        case "css" if how.get("attribute", "text") == "text" and "fallbackSelectors" not in how:
            return [{"css": how["selector"]}, "html2text"]
        case "xpath":
            return [{"xpath": how["selector"]}, "html2text"]
        case "schema" | "auto" if b"class='price'" in _body(history):
            return [{"css": ".stock" if rule["type"] == "availability" else ".price"}, "html2text"]
        case "text":
            return [*([{"css": how["selector"]}] if how.get("selector") else []), "html2text"]
        case "table":
            return [{"css": how["selector"]}, "html2text"]
    return None


def _body(history: History) -> bytes:
    first = history.steps[0].shows
    body = first.body if isinstance(first, Reply) else b""
    return body if isinstance(body, bytes) else body.encode()


@dataclass
class Score:
    """What one tool told."""

    tool: str
    histories: int = 0
    left_out: int = 0
    false_changes: list[str] = field(default_factory=list)
    changes: int = 0
    changes_found: int = 0
    breaks: int = 0
    breaks_told: int = 0
    #: Reports of a break after the first one.
    repeated: int = 0
    #: Single bad checks that were told as errors.
    blips_told: int = 0


def play(tool: str, program: Path, histories: Sequence[History], site: Site, folder: Path) -> Score:
    """All steps of what it can express."""
    site.route("/moved", shop("€10"))
    able = {
        history.name: history for history in histories if filters(history) is not None and not history.browser
    }
    where = dict(zip((one.name for one in histories), addresses(histories), strict=True))
    jobs = [
        {
            "name": name,
            "url": f"http://{where[name]}:{site.port}/{name}",
            "filter": filters(history),
            "timeout": 2,
        }
        for name, history in able.items()
    ]
    (folder / "jobs.yaml").write_text(yaml.safe_dump_all(jobs, sort_keys=False))
    (folder / "config.yaml").write_text(yaml.safe_dump(_CONFIG))
    score = Score(tool, len(able), sum(not one.browser for one in histories) - len(able))
    told: dict[str, list[set[str]]] = {name: [] for name in able}
    for number in range(max(len(history.steps) for history in able.values())):
        for name, history in able.items():
            site.route(f"/{name}", history.steps[min(number, len(history.steps) - 1)].shows)
        said = _run(tool, program, folder)
        for name in able:
            told[name].append({kind for kind, whose in said if whose == name})
    for name, history in able.items():
        judge(score, history, told[name][: len(history.steps)])
    return score


def _run(tool: str, program: Path, folder: Path) -> set[tuple[str, str]]:
    names = {
        "urlwatch": ["--urls", "jobs.yaml", "--config", "config.yaml", "--cache", "cache.db", "--hooks", "hooks.py"],
        "webchanges": ["--jobs", "jobs.yaml", "--config", "config.yaml", "--database", "cache.db", "--hooks", "hooks.py"],
    }  # fmt: skip
    ran = subprocess.run(
        [str(program), *names[tool]], cwd=folder, capture_output=True, text=True, check=False, timeout=300
    )
    return {(kind, name) for kind, name in REPORT.findall(ran.stdout)}


_CONFIG = {
    "display": {"new": False, "error": True, "unchanged": False, "empty-diff": False},
    "report": {
        "text": {"line_length": 200, "details": False, "footer": False, "minimal": False, "separate": False},
        "stdout": {"enabled": True, "color": False},
        "html": {"diff": "unified"},
    },
}


def judge(score: Score, history: History, told: Sequence[set[str]]) -> None:
    """Count what was told at each step against the script."""
    changed = Counter(n for n, kinds in enumerate(told) if "CHANGED" in kinds)
    failed = [n for n, kinds in enumerate(told) if "ERROR" in kinds]
    for number, step in enumerate(history.steps):
        if step.says == "change":
            score.changes += 1
            at = next((n for n in (number, number - 1, number - 2) if changed[n]), None)
            if at is not None:
                score.changes_found += 1
                changed[at] -= 1
        elif step.says == "health":
            score.breaks += 1
            within = [n for n in failed if number <= n <= number + step.by]
            score.breaks_told += bool(within)
            score.repeated += max(0, len(within) - 1)
            failed = [n for n in failed if n not in within]
    score.blips_told += len(failed)
    score.false_changes += [f"{history.name} at step {n + 1}" for n in sorted(changed.elements())]
