"""deploy/alerts.yml asks for metrics and labels that there are, and Prometheus takes it; the page tells each alert."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from streamq.events import BrokerTrouble, JobStarted, ReadCompleted
from streamq.metrics import OUTCOMES, Metrics, QueueGauges
from streamq.testing import MemoryBroker
from tests.support.documents import REPOSITORY, cells, table

RULES = REPOSITORY / "deploy/alerts.yml"


def alerts() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    return list(group["rules"])


@pytest.fixture
async def exported() -> set[str]:
    registry = CollectorRegistry()
    metrics = Metrics(registry, streams=["s"])
    metrics(JobStarted(stream="s", job_id="a", attempt=1, waited=0.1, lateness=0.1))
    metrics(BrokerTrouble(kind="full", detail=""))
    metrics(ReadCompleted(stream="s"))
    metrics.watch_load("s", slots=lambda: 5, running=lambda: 0)
    gauges = QueueGauges(registry, MemoryBroker(), slots={"s": 5})
    await gauges.refresh()
    return {sample.name for family in registry.collect() for sample in family.samples}


async def test_every_metric_of_an_alert_is_exported(exported: set[str]) -> None:
    asked = {name for rule in alerts() for name in re.findall(r"streamq_\w+", rule["expr"])}
    assert len(asked) > 8
    assert asked - exported == set()


def test_every_outcome_of_an_alert_is_one() -> None:
    expressions = " ".join(rule["expr"] for rule in alerts())
    asked = {one for text in re.findall(r'outcome=~?"([^"]+)"', expressions) for one in text.split("|")}
    assert asked
    assert asked - set(OUTCOMES) == set()


def test_the_page_says_what_to_do_about_each() -> None:
    told = [cells(row[0])[0] for row in table(REPOSITORY / "docs/operations.md", "What to watch")]
    assert told == [rule["alert"] for rule in alerts()]


def test_prometheus_takes_the_rules() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool found")
    checked = subprocess.run(
        [promtool, "check", "rules", RULES], capture_output=True, text=True, check=False, timeout=60
    )
    assert checked.returncode == 0, checked.stderr
