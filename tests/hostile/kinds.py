"""Which kind of row is run by whom."""

from __future__ import annotations

from typing import Final

from tests.hostile import addresses, answers, endpoint, jobs, pages, webhooks, words
from tests.hostile.rows import Judge, NotRun, Row, Runner
from tests.hostile.stage import Stage


def _html(row: Row, stage: Stage) -> Judge:
    """Told to people where it is to be escaped, else read by rules."""
    return words.alert(row, stage) if row.expected in ("escape", "strip") else pages.document(row, stage)


RUNNERS: Final[dict[str, Runner]] = {
    "url": addresses.url,
    "dns": addresses.dns,
    "redirect": addresses.redirect,
    "response": answers.response,
    "html": _html,
    "page": _html,
    "xml": pages.document,
    "json": pages.document,
    "regex": pages.selector,
    "css": pages.selector,
    "xpath": pages.selector,
    "jsonpath": pages.selector,
    "template": words.template,
    "log": words.log,
    "metric_label": words.metric_label,
    "job": jobs.job,
    "http_api": endpoint.http_api,
    "webhook_endpoint": webhooks.endpoint,
    "webhook_verify": webhooks.verify,
}


def runner(kind: str) -> Runner:
    """Who runs rows of that kind. Raises NotRun."""
    if kind.startswith("alert_"):
        return words.alert
    if kind not in RUNNERS:
        raise NotRun(f"no runner for the kind {kind!r}")
    return RUNNERS[kind]
