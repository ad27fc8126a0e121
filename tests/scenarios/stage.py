"""Plays histories through the real worker: real HTTP, Redis, SQLite and webhooks; a page's next state a burst.

Each history has a loopback address of its own, as its site would: what is done per host (breaker,
politeness, incidents) is done to it alone. The checks are enqueued as a producer would, as last attempts
(docs/wire-format.md, `attempt`): what a retry would see is a step of its own here.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import redis
import yaml

from sentinel.cli.entries import entries
from sentinel.store import RunRecord, Store
from tests.end_to_end.programs import Program
from tests.scenarios.history import SIGNIN, History, Telling, shop
from tests.support.http import Reply, Site

#: Of alerts, by the webhook's type.
TYPES: dict[str, Telling] = {"alert.change": "change", "alert.health": "health", "alert.recovery": "recovery"}


def addresses(histories: Sequence[History]) -> list[str]:
    """One for each, all of them loopback."""
    return [f"127.7.{n // 250}.{n % 250 + 1}" for n in range(len(histories))]


@dataclass
class Played:
    """What was told of a history, and how its checks ended, by step (from 0)."""

    history: History
    told: dict[int, Counter[Telling]] = field(default_factory=lambda: defaultdict(Counter))
    #: None: a good run.
    codes: list[str | None] = field(default_factory=list)

    def unmatched(self) -> tuple[list[str], list[str]]:
        """What was told and should not have been; what should have been told and was not."""
        left = {step: Counter(kinds) for step, kinds in self.told.items()}
        missed = []
        for number, step in enumerate(self.history.steps):
            if step.says is None:
                continue
            at = next(
                (n for n in range(number, number + step.by + 1) if left.get(n, {}).get(step.says)), None
            )
            if at is None:
                missed.append(f"{self.history.name}: {step.says} at step {number + 1} was not told")
            else:
                left[at][step.says] -= 1
        false = [
            f"{self.history.name}: {kind} told at step {number + 1}"
            for number, kinds in sorted(left.items())
            for kind in kinds.elements()
        ]
        return false, missed

    def wrong_codes(self) -> list[str]:
        """Checks that ended otherwise than the script says."""
        return [
            f"{self.history.name}: step {number + 1} ended with {got}, not {step.code}"
            for number, (step, got) in enumerate(zip(self.history.steps, self.codes, strict=True))
            if got != step.code
        ]


@dataclass
class Stage:
    """The site, the rules on it and the worker."""

    histories: Sequence[History]
    site: Site
    redis_url: str
    folder: Path
    environ: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        given = {
            "REDIS_URL": self.redis_url,
            "SENTINEL_ALLOW_PRIVATE_NETWORKS": "true",
            "RATE_LIMITING_ENABLED": "false",
            "WORKER_CONCURRENCY_RULES": "20",
        }
        self.program = Program(self.folder, given | self.environ)
        self.played = {history.name: Played(history) for history in self.histories}

    def play(self) -> list[Played]:
        """All of them, step by step, side by side."""
        self.site.route("/hook", Reply(status=204))
        self.site.route("/moved", shop("€10"))
        self.site.route("/signin", SIGNIN)
        file = self.folder / "rules.yaml"
        file.write_text(self._rules())
        self.program.here("rules", "import", str(file))
        for number in range(max(len(history.steps) for history in self.histories)):
            self._step(number)
        anyio.run(self._read_codes)
        return list(self.played.values())

    async def _read_codes(self) -> None:
        """Of all histories at once: `history` opens the database for each."""
        async with Store.open(f"sqlite:///{self.folder}/sentinel.db", read_only=True) as store:
            for name, played in self.played.items():
                found = [entry async for entry, _ in entries(store, name, limit=100)]
                played.codes = [
                    entry.result.error_code if isinstance(entry, RunRecord) else None for entry in found[::-1]
                ]

    def _step(self, number: int) -> None:
        on = [history for history in self.histories if number < len(history.steps)]
        before = len(self.site.requests_to("/hook"))
        for history in on:
            self.site.route(f"/{history.name}", history.steps[number].shows)
        with redis.Redis.from_url(self.redis_url) as connection, connection.pipeline() as many:
            for history in on:
                payload = {
                    "ruleId": history.name, "trigger": "schedule", "requestedAt": "2026-01-01T00:00:00Z"
                }  # fmt: skip
                many.xadd("rules:run", {"payload": json.dumps(payload), "attempt": 3})
            many.execute()
        self.program.here("run", "--burst", "--no-scheduler")
        for request in self.site.requests_to("/hook")[before:]:
            body = json.loads(request.body)
            self.played[body["data"]["ruleId"]].told[number][TYPES[body["type"]]] += 1

    def _rules(self) -> str:
        rules: list[dict[str, Any]] = [
            {
                "id": history.name,
                "url": f"http://{address}:{self.site.port}/{history.name}",
                "schedule": {"intervalSeconds": 86400},
                "fetch": {"mode": "http"},
                **history.rule,
            }
            for history, address in zip(self.histories, addresses(self.histories), strict=True)
        ]
        channel = {"id": "told", "type": "webhook", "url": f"{self.site.url}/hook"}
        workspace = {"id": "scenarios", "timezone": "Europe/Bratislava"}
        return yaml.safe_dump(
            {"workspace": workspace, "channels": [channel], "rules": rules}, sort_keys=False
        )
