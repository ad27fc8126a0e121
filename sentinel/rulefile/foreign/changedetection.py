"""changedetection.io: the backup (zip), `url-watches.json`, and watches as its API gives them.

A backup holds `changedetection.json` (settings) with `UUID/watch.json` and `UUID/tag.json`, or an
older version's `url-watches.json`, which has all of it.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any, Final

import msgspec

from sentinel.decide.schedule import check_timezone
from sentinel.errors import Problem, RuleFileError
from sentinel.rulefile.foreign.apprise import channel_of
from sentinel.rulefile.foreign.carried import Draft, Fields, proxy_of

# `Any` is JSON.

#: Bytes of a file, of one member of a backup, and of all that are read.
MAX_FILE: Final = 256 << 20
MAX_MEMBER: Final = 8 << 20
MAX_READ: Final = 128 << 20
#: Members of a backup: snapshots are among them.
MAX_MEMBERS: Final = 500_000
#: A watch without an interval, where the settings have none either: the tool's own default.
DEFAULT_INTERVAL: Final = 3 * 3600
#: Filters of a watch that become rules of their own.
MAX_FILTERS: Final = 20

_MEMBER: Final = re.compile(
    r"(?:[0-9a-fA-F-]{36}/(?:watch|tag)\.json|changedetection\.json|url-watches\.json)"
)
_SECONDS: Final = {"weeks": 604_800, "days": 86_400, "hours": 3600, "minutes": 60, "seconds": 1}

#: What a watch remembers, and what is only about how it is shown.
_STATE: Final = frozenset({
    "uuid", "check_count", "consecutive_filter_failures", "content-type", "date_created", "fetch_time",
    "has_ldjson_price_data", "history", "history_n", "history_snapshot_max_length", "last_changed",
    "last_checked", "last_error", "last_notification_error", "last_viewed", "link", "viewed",
    "newest_history_key", "notification_alert_count", "page_title", "previous_md5",
    "previous_md5_before_filters",
    "remote_server_reply", "restock", "browser_steps_last_error_step", "llm_evaluation_cache",
    "llm_backend_profile",
    "llm_change_summary_mode", "use_page_title_in_list", "track_ldjson_price_data", "favicon_filename",
    "version",
    "filter_failure_notification_send", "notification_format", "conditions_match_logic",
    "time_between_check_use_default", "processor_config_restock_diff", "last_filter_config_hash",
    "notification_screenshot",
})  # fmt: skip
_DROPPED: Final = {
    "browser_steps": "there are no steps in a browser here",
    "webdriver_js_execute_code": "no script is run in a page here",
    "subtractive_selectors": "parts cannot be taken out; name a narrower selector",
    "ignore_text": "lines cannot be left out; dates, counters and tracking are neutralised by themselves",
    "extract_lines_containing": "lines cannot be picked; a pattern can (regex_extract)",
    "text_should_not_be_present": "text_matches tells a text that comes, nothing one that goes",
    "check_unique_lines": "the comparison is with the last value, not with all that were",
    "sort_text_alphabetically": "lines are compared in their order",
    "remove_duplicate_lines": "lines are compared as they are",
    "conditions": "write them as conditions: number_above, text_matches ...",
    "llm_intent": "there is no language model here",
    "llm_change_summary": "there is no language model here",
    "llm_prefilter": "there is no language model here",
    "notification_title": "a channel's template says it: docs/templates.md",
    "notification_body": "a channel's template says it: docs/templates.md",
    "link_to_open": "alerts link to the page that is watched",
    "ignore_status_codes": "a 4xx or 5xx is an error of the check",
    "strip_ignored_lines": "lines cannot be left out",
}
_WEEK: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_NOT_GET: Final = "only GET is made: the rule is there, switched off"


def read(path: Path, draft: Draft) -> None:
    """Raises RuleFileError."""
    watches, tags, settings = _parts(path)
    settings = settings if isinstance(settings, dict) else {}
    reader = _Watches(draft, _names(tags), settings)
    for uuid, watch in watches:
        if isinstance(watch, dict):
            reader.add(str(uuid), watch)
    if watches:
        draft.note(
            "", "history", "dropped", "what was seen before stays there; the first value here is no change"
        )


class _Watches:
    """Makes rules of watches."""

    def __init__(self, draft: Draft, tags: dict[str, str], settings: dict[str, Any]) -> None:
        self._draft = draft
        self._tags = tags
        application = _dict(settings.get("application"))
        requests = _dict(settings.get("requests"))
        self._headers = {
            str(k): str(v) for k, v in _dict(settings.get("headers")).items() if isinstance(v, str)
        }
        self._interval = _interval(requests.get("time_between_check")) or DEFAULT_INTERVAL
        self._backend = str(application.get("fetch_backend") or "html_requests")
        self._urls = [one for one in _list(application.get("notification_urls")) if isinstance(one, str)]
        self._known: dict[str, str] = {}
        self._proxies = {
            # The name it is chosen by: changedetectionio/store, proxy_list (the number never counts up).
            f"ui-0{one.get('proxy_name')}": str(one.get("proxy_url"))
            for one in _list(requests.get("extra_proxies"))
            if isinstance(one, dict)
        }
        self._proxy = str(requests.get("proxy") or "")
        self._timezone = str(application.get("scheduler_timezone_default") or "UTC")
        for name, why in (("global_ignore_text", "lines"), ("global_subtractive_selectors", "parts")):
            if application.get(name):
                draft.note("settings", name, "dropped", f"{why} cannot be left out; name narrower selectors")

    def add(self, uuid: str, watch: dict[str, Any]) -> None:
        """One watch: one rule, or several where it looks at several places."""
        url, title = str(watch.get("url") or "").strip(), str(watch.get("title") or "").strip()
        rule_id = self._draft.new_id(title, url, uuid)
        fields = Fields(watch, rule_id, self._draft)
        fields.ignore({"url", "title"})
        if url.startswith("source:"):
            url = url.removeprefix("source:")
            fields.note("url", "carried", "source: is not known here; the page's text is read, not its HTML")
        base = self._base(fields, rule_id, url, title)
        for index, (suffix, part) in enumerate(self._readings(fields)):
            name = rule_id if not index else self._draft.new_id(f"{rule_id}-{suffix}")
            policy = {**base["alertPolicy"], **part.pop("alertPolicy", {})}
            self._draft.add({**base, "id": name, **part, "alertPolicy": policy})
        fields.drop(_DROPPED)
        fields.ignore(_STATE)
        fields.rest()

    def _base(self, fields: Fields, rule_id: str, url: str, title: str) -> dict[str, Any]:
        """What is the same whatever is read."""
        rule: dict[str, Any] = {"id": rule_id, "url": url, "type": "text"}
        if title:
            rule["name"] = title[:300]
        rule["fetch"] = self._fetch(fields)
        rule["schedule"] = self._schedule(fields)
        if tags := self._tags_of(fields):
            rule["tags"] = tags
        if fields.flag("paused"):
            rule["enabled"] = False
        method, body = fields.text("method") or "GET", fields.text("body")
        if method.upper() != "GET" or body:
            rule["enabled"] = False
            fields.note("method", "carried", _NOT_GET)
        rule["alertPolicy"] = {"channels": self._channels(fields)}
        return rule

    def _fetch(self, fields: Fields) -> dict[str, Any]:
        backend = fields.text("fetch_backend") or "system"
        if backend == "system":
            backend = self._backend
        fetch: dict[str, Any] = {"mode": "auto" if backend == "html_requests" else "headless"}
        if headers := {**self._headers, **fields.pairs("headers")}:
            fetch["headers"] = headers
            fields.note(
                "headers", "carried", "as they are: look for credentials among them before you share the file"
            )
        fetch |= self._proxy_of(fields)
        if delay := fields.text("webdriver_delay"):
            fetch["renderWait"] = _number(delay)
        return fetch

    def _proxy_of(self, fields: Fields) -> dict[str, str]:
        chosen = fields.text("proxy") or self._proxy or next(iter(self._proxies), "")  # as it does
        if not chosen or chosen == "no-proxy":
            return {}
        if chosen not in self._proxies:
            fields.note("proxy", "dropped", "its address is not in this file: write it as fetch.proxy")
            return {}
        return proxy_of(fields, "proxy", self._proxies[chosen])

    def _schedule(self, fields: Fields) -> dict[str, Any]:
        default = fields.flag("time_between_check_use_default", default=True)
        own = _interval(fields.take("time_between_check"))
        schedule: dict[str, Any] = {"intervalSeconds": (None if default else own) or self._interval}
        limit = fields.take("time_schedule_limit")
        if not isinstance(limit, dict) or limit.get("enabled") is not True:
            return schedule
        if hours := _active_hours(limit):
            schedule["activeHours"] = hours
            schedule["timezone"] = str(limit.get("timezone") or self._timezone)
            if check_timezone(schedule["timezone"]):
                fields.note("time_schedule_limit", "carried", "in UTC: its zone is not known here")
                schedule["timezone"] = "UTC"
        else:
            fields.note("time_schedule_limit", "dropped", "no day of it has hours: it would never be checked")
        return schedule

    def _tags_of(self, fields: Fields) -> list[str]:
        named = [self._tags.get(one, one) for one in fields.texts("tags")]
        named += [one.strip() for one in fields.text("tag").split(",") if one.strip()]
        return list(dict.fromkeys(one[:60] for one in named))

    def _channels(self, fields: Fields) -> list[str]:
        own = fields.texts("notification_urls")
        if fields.flag("notification_muted"):
            fields.note(
                "notification_muted", "carried", "it tells no channel of its own; routes of the workspace may"
            )
            return []
        made = [channel_of(address, self._draft, self._known) for address in own or self._urls]
        return list(dict.fromkeys(one for one in made if one is not None))

    def _readings(self, fields: Fields) -> list[tuple[str, dict[str, Any]]]:
        """What is read where, and what is told of it: for each a part of a rule."""
        if fields.text("processor") == "restock_diff":
            return _restock(fields)
        fields.ignore({"in_stock_only", "follow_price_changes", "price_change_threshold_percent"})
        extra: dict[str, Any] = {}
        if steps := _patterns(fields):
            extra["postprocess"] = steps
        conditions = _triggers(fields)
        for name in ("filter_text_added", "filter_text_removed", "filter_text_replaced"):
            if not fields.flag(name, default=True):
                fields.note(name, "dropped", "every change of the text is told, whichever way")
        fields.ignore({"trim_text_whitespace"})
        filters = fields.texts("include_filters")
        if len(filters) > 1:
            fields.note(
                "include_filters", "carried", f"{min(len(filters), MAX_FILTERS)} filters: a rule for each"
            )
        if len(filters) > MAX_FILTERS:
            fields.note("include_filters", "dropped", f"filters after the {MAX_FILTERS}th")
        parts = []
        for number, one in enumerate(filters[:MAX_FILTERS] or [""], 1):
            kind, extraction = _place(one, fields)
            part: dict[str, Any] = {"type": kind, "extraction": {**extraction, **extra}}
            if conditions:
                part["alertPolicy"] = {"conditions": conditions}
            parts.append((str(number), part))
        return parts


def _restock(fields: Fields) -> list[tuple[str, dict[str, Any]]]:
    """Stock and price of the page's product."""
    back = {"id": "back", "type": "availability_is", "value": "in_stock"}
    moved = {"id": "moved", "type": "value_changed"}
    only, percent = fields.flag("in_stock_only", default=True), fields.text("price_change_threshold_percent")
    stock: dict[str, Any] = {
        "type": "availability",
        "extraction": {"method": "auto", "selector": "availability"},
        "alertPolicy": {"conditions": [back if only else moved]},
    }
    fields.ignore({"filter_text_added", "filter_text_removed", "filter_text_replaced"})
    if fields.texts("include_filters"):
        fields.note("include_filters", "dropped", "the product is found by method auto")
    for name in ("trigger_text", "extract_text"):
        if fields.texts(name):
            fields.note(name, "dropped", "a restock watch does not look at it there either")
    if not fields.flag("follow_price_changes", default=True):
        return [("stock", stock)]
    condition: dict[str, Any] = {"id": "moved", "type": "value_changed"}
    if percent and _number(percent):
        condition = {"id": "drop", "type": "price_drop_percent", "value": _number(percent)}
        fields.note("price_change_threshold_percent", "carried", "for drops; rises are told by price_above")
    price: dict[str, Any] = {
        "type": "price",
        "extraction": {"method": "auto", "selector": "price"},
        "alertPolicy": {"conditions": [condition]},
    }
    fields.note("processor", "carried", "stock and price are a rule each, found by method auto")
    return [("stock", stock), ("price", price)]


def _place(written: str, fields: Fields) -> tuple[str, dict[str, Any]]:
    """The type and the extraction of a filter."""
    for prefix in ("xpath:", "xpath1:"):
        if written.startswith(prefix):
            return "text", {"method": "xpath", "selector": written.removeprefix(prefix)}
    if written.startswith("/"):
        return "text", {"method": "xpath", "selector": written}
    if written.startswith("json:"):
        return json_reading(written.removeprefix("json:"))
    if written.startswith(("jq:", "jqraw:")):
        path = written.partition(":")[2].strip()
        if (made := jsonpath_of(path)) is None:
            fields.note(
                "include_filters",
                "dropped",
                f"there is no jq here, and {path[:60]!r} is more than a path: all of the JSON is read",
            )
        return json_reading(made or "$")
    if not written:
        return "text", {"method": "text"}
    fields.note("include_filters", "carried", "of several matches the first is read, not all")
    return "text", {"method": "css", "selector": written.removeprefix("css:")}


def json_reading(path: str) -> tuple[str, dict[str, Any]]:
    """The type and the extraction of a JSONPath: what ends in a name is most often a text or a number."""
    named = re.search(r"""(?:[.][A-Za-z_]\w*|\[["'][^"']*["']\])$""", path)
    return "text" if named else "json_field", {"method": "jsonpath", "selector": path}


def jsonpath_of(jq: str) -> str | None:
    """`.a.b[0]` as a JSONPath, or None: it is more than a path."""
    if not re.fullmatch(r'\.|(?:\.?(?:\[\d+\]|\[\]|\["[^"\\]*"\])|\.[A-Za-z_]\w*)+', jq):
        return None
    return "$" if jq == "." else "$" + jq.replace("[]", "[*]").replace(".[", "[")


def _patterns(fields: Fields) -> list[dict[str, Any]]:
    """`extract_text`: the first pattern, as a step."""
    patterns = fields.texts("extract_text")
    if len(patterns) > 1:
        fields.note("extract_text", "dropped", "patterns after the first")
    return (
        [{"op": "regex_extract", "pattern": _regex(patterns[0])[0], "group": _group(patterns[0])}]
        if patterns
        else []
    )


def _triggers(fields: Fields) -> list[dict[str, Any]]:
    """`trigger_text`: conditions, which fire when the text comes."""
    made = []
    for number, one in enumerate(fields.texts("trigger_text")[:50], 1):
        pattern, is_regex = _regex(one)
        made.append(
            {
                "id": f"trigger-{number}",
                "type": "text_matches" if is_regex else "text_contains",
                "value": pattern,
            }
        )
    if made:
        fields.note(
            "trigger_text", "carried", "told when the text comes, not at every change while it is there"
        )
    return made


def _regex(written: str) -> tuple[str, bool]:
    """`/pattern/flags` as RE2 takes it, and whether it is a pattern at all."""
    found = re.fullmatch(r"/(.*)/([a-z]*)", written, re.DOTALL)
    if found is None:
        return written, False
    flags = "".join(flag for flag in found[2] if flag in "ims")
    return (f"(?{flags})" if flags else "") + found[1], True


def _group(written: str) -> int:
    return int(bool(re.search(r"(?<!\\)\((?!\?)", _regex(written)[0])))


# --- the file -------------------------------------------------------------------------------------


def _parts(path: Path) -> tuple[list[tuple[str, Any]], dict[str, Any], Any]:
    """Watches by their id, tags, settings."""
    try:
        if path.stat().st_size > MAX_FILE:
            raise _refused(f"{path} has more than {MAX_FILE >> 20} MiB")
        if zipfile.is_zipfile(path):
            return _of_backup(path)
        if path.stat().st_size > MAX_MEMBER * 4:
            raise _refused(f"{path} has more than {MAX_MEMBER * 4 >> 20} MiB")
        return _of_json(_decoded(path.read_bytes(), str(path)))
    except OSError as error:
        raise _refused(f"{path} cannot be read: {error.strerror}") from error


def _of_backup(path: Path) -> tuple[list[tuple[str, Any]], dict[str, Any], Any]:
    watches: list[tuple[str, Any]] = []
    tags: dict[str, Any] = {}
    settings: Any = {}
    left = MAX_READ
    try:
        with zipfile.ZipFile(path) as backup:
            members = backup.infolist()
            if len(members) > MAX_MEMBERS:
                raise _refused(f"more than {MAX_MEMBERS} files in the backup")
            for member in members:
                if not _MEMBER.fullmatch(member.filename):
                    continue
                with backup.open(member) as file:
                    content = file.read(min(MAX_MEMBER, left) + 1)
                left -= len(content)
                if len(content) > MAX_MEMBER or left < 0:
                    raise _refused(f"{member.filename} is larger than a watch can be")
                value = _decoded(content, member.filename)
                folder, _, name = member.filename.rpartition("/")
                if name == "watch.json":
                    watches.append((folder, value))
                elif name == "tag.json":
                    tags[folder] = value
                else:
                    more, old_tags, settings = _of_json(value)
                    watches += more
                    tags |= old_tags
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, EOFError) as error:
        raise _refused("the backup is damaged, or locked by a password") from error
    return sorted(watches, key=lambda one: str(_dict(one[1]).get("date_created") or "")), tags, settings


def _of_json(value: Any) -> tuple[list[tuple[str, Any]], dict[str, Any], Any]:
    """`url-watches.json`, `changedetection.json`, or watches: a list, by id, or one."""
    if isinstance(value, list):
        return [(str(number), one) for number, one in enumerate(value)], {}, {}
    if not isinstance(value, dict):
        raise _refused("this holds no watches")
    if "settings" in value or "watching" in value:
        settings = _dict(value.get("settings"))
        tags = _dict(_dict(settings.get("application")).get("tags"))
        return list(_dict(value.get("watching")).items()), tags, settings
    if isinstance(value.get("url"), str):
        return [("", value)], {}, {}
    if value and all(isinstance(one, dict) and "url" in one for one in value.values()):
        return list(value.items()), {}, {}
    raise _refused("this holds no watches")


def _decoded(content: bytes, name: str) -> Any:
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise _refused(f"{name} is not JSON: {str(error)[:200]}") from error


def _refused(message: str) -> RuleFileError:
    hint = "give the backup (.zip), url-watches.json, or watches as GET /api/v1/watch/UUID gives them"
    return RuleFileError([Problem("", message, hint)])


def _names(tags: dict[str, Any]) -> dict[str, str]:
    return {uuid: str(tag.get("title") or uuid) for uuid, tag in tags.items() if isinstance(tag, dict)}


def _active_hours(limit: dict[str, Any]) -> list[dict[str, Any]]:
    """`{monday: {enabled: true, start_time: "09:00", duration: {hours: 8, minutes: 30}}, ...}`."""
    days: dict[tuple[str, str], list[str]] = {}
    for index, day in enumerate(_WEEK):
        one = _dict(limit.get(day))
        start = str(one.get("start_time") or "00:00")
        if one.get("enabled") is False or not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", start):
            continue
        duration = _dict(one.get("duration"))
        minutes = min(1440, int(_number(duration.get("hours")) * 60 + _number(duration.get("minutes"))))
        begins = int(start[:2]) * 60 + int(start[3:])
        if minutes == 1440 and begins:  # round the clock, from noon to noon
            days.setdefault((start, "24:00"), []).append(day)
            days.setdefault(("00:00", start), []).append(_WEEK[(index + 1) % 7])
        elif minutes:
            hour, minute = divmod(begins + minutes, 60)
            end = "24:00" if (hour, minute) == (24, 0) else f"{hour % 24:02}:{minute:02}"
            days.setdefault((start, end), []).append(day)
    return [{"days": these, "start": start, "end": end} for (start, end), these in days.items()]


def _interval(value: Any) -> int | None:
    """Seconds of `{minutes: 15}`; None where there are none."""
    total = sum(
        _number(one) * _SECONDS[name] for name, one in _dict(value).items() if name in _SECONDS and one
    )
    return max(1, min(int(total), 366 * 86_400)) if total else None


def _number(value: Any) -> float | int:
    try:
        found = float(value)
    except (TypeError, ValueError):
        return 0
    if not 0 <= found < 1e9:  # nan too
        return 0
    return int(found) if found == int(found) else found


def _dict(value: Any) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
