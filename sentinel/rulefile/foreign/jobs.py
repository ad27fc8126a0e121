"""urlwatch and webchanges: jobs in YAML, one document each, with a pipeline of filters.

A job that runs a command is no rule. A pipeline becomes where the value is (`css`, `xpath`, `jq` of a
plain path) and what is done with its text; what only prepares a page for a difference of lines
(`html2text`, `strip`, `beautify`) is not needed here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from sentinel.errors import Problem, RuleFileError
from sentinel.rulefile import document
from sentinel.rulefile.foreign.carried import Draft, Fields, proxy_of
from sentinel.rulefile.foreign.changedetection import json_reading, jsonpath_of

# `Any` is a plain value of YAML.

#: Seconds between two checks: neither tool has an interval, cron calls them.
INTERVAL: Final = 3600
#: Filters of one job.
MAX_FILTERS: Final = 100

_DROPPED: Final = {
    "diff_filter": "differences are not filtered; conditions choose what is told",
    "diff_filters": "differences are not filtered; conditions choose what is told",
    "diff_tool": "no program is run; alerts show the difference word by word",
    "differ": "alerts show the difference word by word, of rows row by row",
    "additions_only": "every change of the text is told; text_contains tells what comes",
    "deletions_only": "every change of the text is told",
    "contextlines": "alerts show what is around a change",
    "compared_versions": "the comparison is with the value believed; see requireConsecutive",
    "max_tries": "checks are tried three times, and a rule that keeps failing is told once",
    "retries": "checks are tried three times",
    "treat_new_as_changed": "the first value is no change",
    "user_visible_url": "alerts link to the page that is watched",
    "ssl_no_verify": "certificates are always verified",
    "ignore_https_errors": "certificates are always verified",
    "ignore_cached": "each tenth check is a full one whatever the page says",
    "no_conditional_request": "each tenth check is a full one whatever the page says",
    "ignore_connection_errors": "an error is never told as a change; a rule that keeps failing is told once",
    "ignore_timeout_errors": "an error is never told as a change; a rule that keeps failing is told once",
    "ignore_http_error_codes": "an error is never told as a change; a rule that keeps failing is told once",
    "ignore_too_many_redirects": "an error is never told as a change; a rule that keeps failing is told once",
    "ignore_incomplete_reads": "an error is never told as a change",
    "suppress_errors": "a rule that keeps failing is told once",
    "suppress_repeated_errors": "a rule that keeps failing is told once",
    "suppress_error_ended": "a rule that works again is told once",
    "encoding": "the page's charset is found",
    "wait_until": "waitForSelector says when a page is ready",
    "wait_for_navigation": "waitForSelector says when a page is ready",
    "initialization_url": "a page is asked for alone",
    "initialization_js": "no script is run in a page",
    "evaluate": "no script is run in a page",
    "params": "write them into the URL",
    "note": "put it beside the rule as a comment",
    "http_client": "there is one HTTP client",
    "impersonate": "there is one HTTP client, and it says who it is",
    "monospace": "alerts have one look",
    "is_markdown": "the text is read as it is",
    "markdown_padded_tables": "the text is read as it is",
    "stderr": "no command is run",
}
#: What is done without being asked.
_NEEDLESS: Final = frozenset({
    "html2text", "strip", "striplines", "beautify", "format-json", "pretty-xml", "format-xml",
    "absolute_links",
})  # fmt: skip
_FILTER_DROPPED: Final = {
    "sort": "lines are compared in their order",
    "reverse": "lines are compared in their order",
    "remove-duplicate-lines": "lines are compared as they are",
    "remove_repeated": "lines are compared as they are",
    "grepi": "lines cannot be left out; dates, counters and tracking are neutralised by themselves",
    "delete_lines_containing": "lines cannot be left out; dates and counters are neutralised by themselves",
    "between": "name the place by css or a pattern with a group",
}
_ELEMENTS: Final = {
    "element-by-id": ("id", '[id="{}"]'),
    "element-by-class": ("class", '[class~="{}"]'),
    "element-by-style": ("style", '[style="{}"]'),
    "element-by-tag": ("tag", "{}"),
}
_OFF: Final = "without it something else would be watched: the rule is there, switched off"


def read_urlwatch(path: Path, draft: Draft) -> None:
    """Raises RuleFileError."""
    _read(path, draft, "urlwatch")


def read_webchanges(path: Path, draft: Draft) -> None:
    """Raises RuleFileError."""
    _read(path, draft, "webchanges")


def _read(path: Path, draft: Draft, tool: str) -> None:
    jobs = [one for one in document.read_all(path) if one is not None]
    if len(jobs) == 1 and isinstance(jobs[0], dict) and {"report", "display"} & set(jobs[0]):
        hint = "the file of jobs is urls.yaml or jobs.yaml; channels are written by hand: docs/channels.md"
        raise RuleFileError([Problem("", f"this is {tool}'s configuration, not its jobs", hint)])
    if not any(isinstance(job, dict) and {"url", "navigate", "command"} & set(job) for job in jobs):
        raise RuleFileError(
            [Problem("", f"this holds no jobs of {tool}", "each has url, navigate or command")]
        )
    for number, job in enumerate(jobs, 1):
        if isinstance(job, dict):
            _job(job, number, draft)
        else:
            draft.note(f"job {number}", "", "dropped", "it is no mapping")
    minutes = INTERVAL // 60
    draft.note(
        "",
        "schedule",
        "carried",
        f"{tool} is called by cron; here each rule is checked every {minutes} minutes",
    )
    draft.note("", "reporters", "dropped", "who is told is written as channels: docs/channels.md")


def _job(job: dict[Any, Any], number: int, draft: Draft) -> None:
    url = job.get("url") or job.get("navigate")
    if not isinstance(url, str):
        what = "command" if job.get("command") else "it has no url"
        why = "no command is run here" if what == "command" else "nothing to watch"
        draft.note(f"job {number}", what, "dropped", f"{why}: {str(job.get('name') or '')[:80]}".rstrip(": "))
        return
    rule_id = draft.new_id(str(job.get("name") or ""), url)
    fields = Fields(job, rule_id, draft)
    rule: dict[str, Any] = {"id": rule_id, "url": url.strip(), "type": "text"}
    if name := fields.text("name"):
        rule["name"] = name[:300]
    navigates = "navigate" in job
    fields.ignore({"url", "navigate", "kind", "index_number"})
    rule["fetch"] = _fetch(fields, rule["url"], navigates=navigates)
    rule["extraction"] = {"method": "text"}
    rule["schedule"] = {"intervalSeconds": INTERVAL}
    if tags := fields.texts("tags"):
        rule["tags"] = [one[:60] for one in tags]
    if not fields.flag("enabled", default=True):
        rule["enabled"] = False
    method, data = fields.text("method").upper() or "GET", fields.take("data")
    fields.ignore({"data_as_json"})
    if data or method != "GET":
        rule["enabled"] = False
        fields.note("method", "carried", "only GET is made: the rule is there, switched off")
    rule["alertPolicy"] = {}
    written = [fields.take(one) for one in ("filter", "filters")]
    _pipeline(rule, next((one for one in written if one), None), fields)
    fields.drop(_DROPPED)
    fields.rest()
    draft.add(rule)


def _fetch(fields: Fields, url: str, *, navigates: bool) -> dict[str, Any]:
    browser = fields.flag("use_browser") or navigates
    fields.ignore({"browser"})
    fetch: dict[str, Any] = {"mode": "headless" if browser else "auto"}
    if agent := fields.text("useragent") or fields.text("user_agent"):
        fetch["userAgent"] = agent
    for name in ("headers", "cookies"):
        if found := fields.pairs(name):
            fetch[name] = found
            fields.note(
                name, "carried", "as they are: look for credentials among them before you share the file"
            )
    fetch |= _proxy(fields, url)
    timeout = fields.text("timeout")
    if re.fullmatch(r"\d{1,6}(\.\d+)?", timeout):
        seconds = float(timeout)
        if not 0 < seconds <= 300:
            fields.note("timeout", "carried", "300 seconds, the most there is")
        fetch["timeout"] = min(seconds, 300) or 300
    wait = fields.take("wait_for")
    if selector := fields.text("wait_for_selector") or (
        wait if isinstance(wait, str) and not wait.isdigit() else ""
    ):
        fetch["waitForSelector"] = selector
    elif wait and re.fullmatch(r"\d{1,6}", str(wait)):
        fetch["renderWait"] = min(int(str(wait)) / 1000, 60)
    return fetch


def _proxy(fields: Fields, url: str) -> dict[str, str]:
    """The one of its three settings that this URL goes by: a browser's wins over those of a scheme."""
    found = {name: fields.take(name) for name in ("proxy", "https_proxy", "http_proxy")}
    browser = found["proxy"]
    if isinstance(browser, dict) and isinstance(browser.get("server"), str):  # as Playwright writes it
        user, password = (quote(str(browser.get(part) or ""), safe="") for part in ("username", "password"))
        scheme, sep, place = browser["server"].rpartition("://")
        found["proxy"] = f"{scheme}{sep}{user}:{password}@{place}" if user else browser["server"]
    for name in ("proxy", "https_proxy" if url.startswith("https:") else "http_proxy"):
        if isinstance(written := found[name], str) and written.strip():
            return proxy_of(fields, name, written.strip())
    return {}


# --- filters --------------------------------------------------------------------------------------


def _pipeline(rule: dict[str, Any], written: Any, fields: Fields) -> None:
    steps: list[dict[str, Any]] = []
    for name, options in _filters(written, fields):
        if name in _ELEMENTS:
            key, form = _ELEMENTS[name]
            value = _option(options, key).replace("\\", "\\\\").replace('"', '\\"')
            _select(rule, "css", form.format(value), fields)
        elif name in _STORIES:
            _STORIES[name](rule, steps, options, fields)
        elif name in _FILTER_DROPPED:
            fields.note(f"filter {name}", "dropped", _FILTER_DROPPED[name])
        elif name not in _NEEDLESS:
            rule["enabled"] = False
            fields.note(f"filter {name}"[:60], "dropped", f"it is not there; {_OFF}")
        elif name == "format-json" and rule["extraction"] == {"method": "text"}:
            rule["type"], rule["extraction"] = "json_field", {"method": "jsonpath", "selector": "$"}
    if steps:
        rule["extraction"]["postprocess"] = steps


def _filters(written: Any, fields: Fields) -> Iterator[tuple[str, Any]]:
    """Names with what is said to them: a list, or the old form `css:.price,html2text`."""
    if written is None:
        return
    if isinstance(written, str):
        written = [part.partition(":")[::2] for part in written.split(",")]
        written = [{name: value} if value else name for name, value in written]
    if isinstance(written, dict):
        written = [written]
    if not isinstance(written, list):
        fields.note("filter", "dropped", "it is neither a list nor a text")
        return
    if len(written) > MAX_FILTERS:
        fields.note("filter", "dropped", f"filters after the {MAX_FILTERS}th")
    for one in written[:MAX_FILTERS]:
        if isinstance(one, str):
            yield one.strip(), None
        elif isinstance(one, dict):
            yield from ((str(name), options) for name, options in one.items())
        else:
            fields.note("filter", "dropped", "one that has no name")


def _option(options: Any, name: str) -> str:
    found = options.get(name) if isinstance(options, dict) else options
    return "" if found is None or isinstance(found, dict | list) else str(found)


def _select(rule: dict[str, Any], method: str, selector: str, fields: Fields) -> None:
    """Read there; a place within a place has the first as its context."""
    before = rule["extraction"]
    if before["method"] == "css" and method == "css":
        if "context" in before:
            selector = f"{before['selector']} {selector}"
        rule["extraction"] = {
            "method": "css",
            "selector": selector,
            "context": before.get("context", before["selector"]),
        }
        return
    if before["method"] != "text":
        fields.note(
            f"filter {method}", "dropped", f"a place within one by {before['method']}: write one selector"
        )
        return
    rule["extraction"] = {"method": method, "selector": selector}
    if method != "jsonpath":
        fields.note(f"filter {method}", "carried", "of several matches the first is read, not all")


def _css(rule: dict[str, Any], steps: list[dict[str, Any]], options: Any, fields: Fields) -> None:  # noqa: ARG001
    _select(rule, "css", _option(options, "selector"), fields)
    _other_options("css", options, {"selector"}, fields)


def _xpath(rule: dict[str, Any], steps: list[dict[str, Any]], options: Any, fields: Fields) -> None:  # noqa: ARG001
    _select(rule, "xpath", _option(options, "path"), fields)
    _other_options("xpath", options, {"path"}, fields)


def _jq(rule: dict[str, Any], steps: list[dict[str, Any]], options: Any, fields: Fields) -> None:  # noqa: ARG001
    query = _option(options, "query").strip()
    path = jsonpath_of(query)
    if path is None:
        fields.note(
            "filter jq",
            "dropped",
            f"there is no jq here, and {query[:60]!r} is more than a path: all of the JSON is read",
        )
    rule["type"], rule["extraction"] = json_reading(path or "$")


def _grep(rule: dict[str, Any], steps: list[dict[str, Any]], options: Any, fields: Fields) -> None:  # noqa: ARG001
    pattern = _option(options, "re")
    if not pattern:
        pattern = re.escape(_option(options, "text"))
    steps.append({"op": "regex_extract", "pattern": f"(?m)^.*(?:{pattern}).*$", "group": 0})
    fields.note("filter grep", "carried", "the first such line is read, not all")


def _find(rule: dict[str, Any], steps: list[dict[str, Any]], options: Any, fields: Fields) -> None:  # noqa: ARG001
    pattern = _option(options, "pattern")
    grouped = int(bool(re.search(r"(?<!\\)\((?!\?)", pattern)))
    steps.append({"op": "regex_extract", "pattern": pattern, "group": grouped})
    fields.note("filter re.findall", "carried", "the first match is read, not all")


def _sub(rule: dict[str, Any], steps: list[dict[str, Any]], options: Any, fields: Fields) -> None:  # noqa: ARG001
    pattern = _option(options, "pattern")
    literal = re.sub(r"\\([^\w\s])", r"\1", pattern)
    if not pattern or re.search(r"(?<!\\)[.^$*+?{}\[\]|()]|\\\w", pattern):
        fields.note("filter re.sub", "dropped", f"only texts are replaced, and {pattern[:60]!r} is a pattern")
        return
    steps.append(
        {
            "op": "replace",
            "pattern": literal,
            "replacement": _option(options, "repl") if isinstance(options, dict) else "",
        }
    )


def _other_options(name: str, options: Any, known: set[str], fields: Fields) -> None:
    left = sorted(str(one) for one in options if one not in known) if isinstance(options, dict) else []
    if left:
        fields.note(f"filter {name}", "dropped", f"its {', '.join(left)[:100]}")


_Story = Callable[[dict[str, Any], list[dict[str, Any]], Any, Fields], None]
_STORIES: Final[dict[str, _Story]] = {
    "css": _css,
    "xpath": _xpath,
    "jq": _jq,
    "grep": _grep,
    "keep_lines_containing": _grep,
    "re.findall": _find,
    "re.sub": _sub,
}
