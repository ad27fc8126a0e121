"""Routes, digests and quiet hours in a rules file: what cannot work is told, with what to do about it."""

from __future__ import annotations

import pytest

from sentinel.errors import RuleFileError
from sentinel.fetch.guard import NetworkPolicy
from sentinel.model import Digest, Escalation, Flood, Incident, Route
from sentinel.rulefile import dump, load

PUBLIC = NetworkPolicy()
CHANNELS = """
channels:
  - {id: ops, type: console}
  - {id: boss, type: console}
"""

FULL = f"""
workspace:
  id: acme
  quietHours: {{start: "22:00", end: "07:00"}}
  routes:
    - id: oncall
      severity: critical
      tags: [shop]
      kinds: [price, health]
      hosts: [example.com]
      channels: [ops]
      continue: true
      digest: {{by: host, every: 60}}
      escalate: {{after: 60, channels: [boss]}}
    - {{channels: [ops]}}
  digest: {{by: tag, every: 86400}}
  incident: {{rules: 5, within: 60}}
  flood: {{alerts: 1, within: 10}}
{CHANNELS}"""


def test_everything_that_can_be_said_of_the_way_is_understood() -> None:
    space = load(FULL, PUBLIC).workspace
    assert space.routes == [
        Route(
            id="oncall", severity="critical", tags=["shop"], kinds=["price", "health"], hosts=["example.com"],
            channels=["ops"], go_on=True, digest=Digest(by="host", every=60),
            escalate=Escalation(after=60, channels=["boss"]),
        ),
        Route(channels=["ops"]),
    ]  # fmt: skip
    assert (space.digest, space.incident) == (Digest(by="tag", every=86400), Incident(rules=5, within=60))
    assert space.flood == Flood(alerts=1, within=10)


def test_it_is_written_as_it_is_read_also_that_there_are_no_incidents() -> None:
    for text in (FULL, "workspace: {id: acme, incident: null}\n" + CHANNELS):
        read = load(text, PUBLIC)
        assert load(dump(read), PUBLIC) == read
    assert load("workspace: {id: acme, incident: null}", PUBLIC).workspace.incident is None


@pytest.mark.parametrize(
    ("space", "path", "says", "hint"),
    [
        ('quietHours: {start: "22:00", end: "22:00"}', "quietHours", "they end when they start", "leave them out"),
        ('quietHours: {start: "25:00", end: "07:00"}', "quietHours.start", "text of another form", "HH:MM"),
        ("digest: {every: 5}", "digest.every", ">= 60", "a minute at least"),
        ("digest: {every: 90000}", "digest.every", "<= 86400", "a day at most"),
        ("digest: {by: page}", "digest.by", "not one of workspace, tag, host", ""),
        ("routes: [{channels: [opps]}]", "routes[0].channels[0]", "there is no channel", "did you mean 'ops'?"),
        (
            "routes: [{channels: [ops], escalate: {after: 60, channels: [bos]}}]",
            "routes[0].escalate.channels[0]", "there is no channel", "did you mean 'boss'?",
        ),
        (
            "routes: [{channels: [ops], escalate: {after: 60, channels: [ops]}}]",
            "routes[0].escalate.channels", "told at once already", "not told before",
        ),
        ("routes: [{channels: [ops], escalate: {after: 5, channels: [boss]}}]", "routes[0].escalate.after", ">= 60", "people need a minute"),
        ("routes: [{severity: warning}]", "routes[0].channels", "leads nowhere", "channels: [ops]"),
        ("routes: [{channels: [ops], kinds: [prise]}]", "routes[0].kinds[0]", "not one of", "did you mean 'price'?"),
        ("routes: [{channels: [ops], hosts: ['https://a.b/']}]", "routes[0].hosts[0]", "not the name of a host", "stands for itself"),
        ("routes: [{channels: [ops]}, {channels: [boss], severity: critical}]", "routes[1]", "nothing gets here", "continue: true"),
        ("routes: [{id: a, channels: [ops], tags: [x]}, {id: a, channels: [boss]}]", "routes[1].id", "is used by", "unique"),
        ("routes: [{channels: [ops], chanels: [boss]}]", "routes[0].chanels", "unknown field", "did you mean 'channels'?"),
        ("incident: {rules: 1}", "incident.rules", ">= 2", ""),
        ("flood: {within: 1}", "flood.within", ">= 10", "from 10"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_told_with_what_to_do(space: str, path: str, says: str, hint: str) -> None:
    with pytest.raises(RuleFileError) as refused:
        load(f"workspace:\n  id: acme\n  {space}\n{CHANNELS}", PUBLIC)
    (problem,) = refused.value.problems
    assert problem.path == f"workspace.{path}"
    assert says in problem.message
    assert hint in problem.hint


def test_a_rules_own_escalation_is_held_to_its_own_channels() -> None:
    rule = """
rules:
  - id: r
    url: https://example.com/
    type: text
    extraction: {method: text}
    alertPolicy: {channels: [ops], escalate: {after: 60, channels: [ops, nobody]}}
"""
    with pytest.raises(RuleFileError) as refused:
        load(CHANNELS + rule, PUBLIC)
    assert [one.path for one in refused.value.problems] == ["rules[0].alertPolicy.escalate.channels[1]"]
