"""What a page holds, and what rules are made to find in it: markup, patterns, selectors."""

from __future__ import annotations

from sentinel.model import Extraction
from tests.hostile import checks
from tests.hostile.rows import Judge, NotRun, Row, applied, text_of
from tests.hostile.stage import FINE, PAGE, Stage
from tests.support.http import Reply


def selector(row: Row, stage: Stage) -> Judge:
    """A regex, css, xpath or jsonpath: held against `rules import`, and, past it, given to the worker."""
    written, page = applied(row)
    kind, content_type = row.kind, "text/html; charset=utf-8"
    if row.kind == "jsonpath":
        content_type, page = (
            "application/json",
            page or '{"store": {"book": [{"title": "fine"}]}, "v": "fine"}',
        )
    route = Reply(body=page or PAGE, content_type=content_type)
    extraction = Extraction(method=kind, selector=written)  # type: ignore[arg-type] # the kinds are methods
    rule = stage.rule(stage.page(route), extraction=extraction) if checks.is_storable(written) else None

    def judged() -> str:
        problems = checks.import_problems({"extraction": {"method": kind, "selector": written}})
        if row.expected == "refuse":
            if not problems:
                return "rules import takes it"
            return checks.refused(stage, rule) if rule is not None else ""
        if problems:
            return f"rules import refuses it: {problems}"
        if row.is_control:
            return checks.read(
                stage, rule or "", text_of(FINE) if not page else stage.value(rule or "") or "-"
            )
        return checks.bounded(stage, rule or "")

    if row.expected not in ("refuse", "allow", "bounded", "error_clean", "timeout_clean"):
        raise NotRun(f"no selector ends with {row.expected!r}")
    return judged


_TYPES = {"xml": "application/xml", "json": "application/json", "html": "text/html; charset=utf-8"}
#: How a document of a kind is read.
_READ = {
    "xml": Extraction(method="feed"),
    "json": Extraction(method="jsonpath", selector="$.v"),
    "html": Extraction(method="css", selector="#v"),
}


def document(row: Row, stage: Stage) -> Judge:
    """A page that is this document; `html` that is to be escaped is told to people instead."""
    body = text_of(row.input)
    raw = body.encode("utf-8", "surrogateescape")
    reply = Reply(body=raw, content_type=_TYPES[row.kind])
    rules = [
        stage.rule(
            stage.page(reply), extraction=_READ[row.kind], type="list" if row.kind == "xml" else "text"
        )
    ]
    if row.kind == "xml":
        # As a page, which is read as browsers read one: nothing in it is expanded.
        rules.append(stage.rule(stage.page(reply), extraction=Extraction(method="text")))
        rules.append(stage.rule(stage.page(reply), extraction=Extraction(method="xpath", selector="//l")))
    if row.kind == "html":
        # By the other parser too.
        xpath = Extraction(method="xpath", selector="//*[@id='v']")
        rules.append(stage.rule(stage.page(reply), extraction=xpath))

    def judged() -> str:
        if row.is_control or row.expected == "read":
            return checks.read(stage, rules[0])
        for rule in rules:
            if wrong := checks.bounded(stage, rule):
                return wrong
            grown = len(stage.value(rule) or "")
            if row.kind == "xml" and grown > len(body) + 100:
                return f"it grew to {grown:,} characters"
        return checks.error_clean(stage, rules[0]) if row.expected == "error_clean" else ""

    if row.expected not in ("allow", "read", "bounded", "error_clean", "timeout_clean"):
        raise NotRun(f"no document ends with {row.expected!r}")
    return judged
