"""Whether what was written can work: selectors, addresses, times, conditions, references.

Asked struct by struct while the file is read, so a rule with one field missing still hears about
its bad selector.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from typing import Any, Final

import msgspec

from sentinel.channels import SMTP_URL, SigningKey, SmtpServer
from sentinel.credentials import SIGNING_SECRET, file_trouble, trouble, values_of
from sentinel.decide import fallbacks, schedule
from sentinel.errors import CheckFailure, Problem
from sentinel.extract import check_extraction
from sentinel.extract.css import trouble as css_trouble
from sentinel.extract.hints import did_you_mean, shown
from sentinel.fetch import geo, guard
from sentinel.fetch.guard import NetworkPolicy
from sentinel.model import (
    AlertPolicy,
    Channel,
    ChannelTemplate,
    ChannelType,
    Clause,
    Condition,
    Extraction,
    FallbackSelector,
    FetchProfile,
    Normalization,
    Route,
    Rule,
    Schedule,
    Workspace,
)
from sentinel.render import mailbox
from sentinel.render.contained import troubles as template_troubles
from sentinel.rulefile import conditions, ways
from sentinel.rulefile.shape import BAD, join
from sentinel.settings import is_setting

# `Any` is a part of a struct as the reader made it.

#: The credentials of each type of channel, and the one that it cannot be without.
CREDENTIALS: Final[dict[ChannelType, tuple[str, ...]]] = {
    "webhook": (SIGNING_SECRET, "url"),
    "slack": ("url",),
    "discord": ("url",),
    "teams": ("url",),
    "telegram": ("bot_token",),
    "ntfy": ("token",),
    "pagerduty": ("routing_key",),
    "apprise": ("url",),
    "email": (SMTP_URL,),
    "console": (),
}
NEEDED_CREDENTIALS: Final[dict[ChannelType, str]] = {
    "slack": "url",
    "discord": "url",
    "teams": "url",
    "telegram": "bot_token",
    "pagerduty": "routing_key",
    "apprise": "url",
}
#: Fields that say where, each with the types that have it; in those of the second list it is required.
_PLACES: Final[dict[str, tuple[tuple[ChannelType, ...], tuple[ChannelType, ...], str]]] = {
    "chat_id": (("telegram",), ("telegram",), 'chatId: "-1001234567890"'),
    "topic": (("ntfy",), ("ntfy",), "topic: my-alerts"),
}
#: What reads the values of credentials (its ValueError quotes none), and an example.
_VALUE_PARSERS: Final[dict[str, tuple[Callable[[str], object], str]]] = {
    SIGNING_SECRET: (SigningKey.parse, ""),
    SMTP_URL: (SmtpServer.parse, "smtp://user:password@host:587"),
}
#: What the values of credentials look like, and how to say so.
_VALUE_FORMS: Final = {
    "bot_token": (re.compile(r"[0-9]{1,20}:[A-Za-z0-9_-]{30,100}"), "a bot's token is 123456789:AA..."),
    "routing_key": (re.compile(r"[A-Za-z0-9]{32}"), "an integration key has 32 letters and digits"),
}

_CREDENTIAL_NAME: Final = re.compile(r"[a-z_]{1,30}")
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class Sense:
    """The judge a `Reader` asks."""

    def __init__(
        self, problems: list[Problem], policy: NetworkPolicy, known_channels: Collection[str]
    ) -> None:
        self._problems = problems
        self._policy = policy
        self._known_channels = known_channels
        self._judges: dict[type, Callable[[dict[str, Any], str], None]] = {
            Extraction: self._extraction,
            FetchProfile: self._fetch,
            Schedule: self._schedule,
            Workspace: self._workspace,
            Route: self._route,
            AlertPolicy: self._escalation,
            Channel: self._channel,
            ChannelTemplate: self._template,
            Clause: self._clause,
            Condition: self._clause,
            Normalization: self._normalization,
            Rule: self._rule,
        }

    def judge(self, kind: type[msgspec.Struct], parts: dict[str, Any], path: str, meant: set[str]) -> None:
        """Note what cannot work."""
        before = len(self._problems)
        if (judge := self._judges.get(kind)) is not None:
            judge(parts, path)
        # A misspelt field looks like a missing one; that was told in better words.
        spared = {join(path, name) for name in meant} | ({path} if meant else set())
        self._problems[before:] = [one for one in self._problems[before:] if one.path not in spared]

    def _note(self, path: str, message: str, hint: str = "") -> None:
        self._problems.append(Problem(path, message, hint))

    # --- one struct each ---

    def _extraction(self, parts: dict[str, Any], path: str) -> None:
        if "method" not in parts:
            return
        self._pass_on(check_extraction(Extraction(**_stood_in(parts))), path)

    def _fetch(self, parts: dict[str, Any], path: str) -> None:
        if (selector := parts.get("wait_for_selector")) and (problem := css_trouble(selector)):
            self._note(join(path, "waitForSelector"), problem.message, problem.hint)
        for field in ("headers", "cookies"):
            for name, value in parts.get(field, {}).items():
                if not _HEADER_NAME.fullmatch(name) or _CONTROL.search(value):
                    self._note(
                        join(join(path, field), name),
                        "cannot be sent: no control characters, no spaces in names",
                    )
        if (written := parts.get("geo")) not in (None, BAD) and (problem := geo.trouble(written)):
            self._note(join(path, "geo"), problem.message, problem.hint)
        if (agent := parts.get("user_agent")) and _CONTROL.search(agent):
            self._note(join(path, "userAgent"), "cannot be sent: no control characters")

    def _schedule(self, parts: dict[str, Any], path: str) -> None:
        self._pass_on(schedule.check(Schedule(**parts)), path)

    def _workspace(self, parts: dict[str, Any], path: str) -> None:
        self._pass_on(schedule.check_timezone(parts.get("timezone")), path)
        self._pass_on(ways.workspace_trouble(parts), path)

    def _route(self, parts: dict[str, Any], path: str) -> None:
        self._pass_on(ways.route_trouble(parts), path)

    def _escalation(self, parts: dict[str, Any], path: str) -> None:
        if parts.get("escalate") not in (None, BAD):
            self._pass_on(ways.escalation_trouble(parts["escalate"], parts.get("channels", [])), path)

    def _channel(self, parts: dict[str, Any], path: str) -> None:
        kind, url = parts.get("type"), parts.get("url")
        secret = "url" in parts.get("credentials", {})
        if url is not None and kind not in (None, "webhook") and "url" in CREDENTIALS[kind]:
            self._note(
                join(path, "url"),
                f"the address of a {kind} channel is a secret",
                "credentials: {url: {env: NAME}}",
            )
        elif url is not None and secret and kind == "webhook":
            self._note(join(path, "url"), "credentials.url says already where to", "leave one of them out")
        elif url is not None:
            self._address(url, join(path, "url"))
        elif kind == "webhook" and not secret:
            self._note(join(path, "url"), "a webhook needs a url", "url: https://hooks.example.com/in")
        if kind is not None:
            self._place(kind, parts, path)
            self._addresses(kind, parts, path)
        self._variables(parts.get("secret_env"), join(path, "secret_env"))
        self._credentials(parts, join(path, "credentials"))

    def _place(self, kind: ChannelType, parts: dict[str, Any], path: str) -> None:
        """What a type of channel needs, and what it has no use for."""
        for name, (having, needing, example) in _PLACES.items():
            where = join(path, _as_written(name))
            if name in parts and parts[name] is not None and kind not in having:
                self._note(
                    where, f"a {kind} channel has no {_as_written(name)}", f"it is for {', '.join(having)}"
                )
            elif kind in needing and parts.get(name) is None and not self._told(where):
                self._note(where, f"a {kind} channel needs {_as_written(name)}", example)
        needed = NEEDED_CREDENTIALS.get(kind)
        where = join(join(path, "credentials"), needed or "")
        if needed is not None and needed not in parts.get("credentials", {}) and not self._told(where):
            self._note(where, f"a {kind} channel needs it", f"credentials: {{{needed}: {{env: NAME}}}}")

    def _template(self, parts: dict[str, Any], path: str) -> None:
        for name, problem in template_troubles(ChannelTemplate(**parts)).items():
            self._note(join(path, name), f"the template fails: {problem}", "docs/templates.md has examples")
        if not parts:
            self._note(path, "a template has a title, a body, or both", "body: ...")

    def _addresses(self, kind: str, parts: dict[str, Any], path: str) -> None:
        """Whom to write to, and who writes: of an e-mail channel alone."""
        written = {"to": parts.get("to") or [], "sender": [parts["sender"]] if parts.get("sender") else []}
        for name, listed in written.items():
            where = join(path, name)
            if kind != "email" and listed:
                self._note(where, f"a {kind} channel has no {name}", "leave it out")
            elif kind == "email" and not listed:
                example = "to: [ops@example.com]" if name == "to" else "sender: Alerts <alerts@example.com>"
                self._note(where, f"an email channel needs {name}", example)
            for index, one in enumerate(listed if kind == "email" else []):
                try:
                    mailbox(one)
                except ValueError as error:
                    place = f"{where}[{index}]" if name == "to" else where
                    self._note(place, f"{shown(one)} is not an address: {error}", "ann@example.com")

    def _told(self, path: str) -> bool:
        """Whether what is at `path`, or around it, could not be read: then it is not missing as well."""
        return any(f"{path}.".startswith(f"{problem.path}.") for problem in self._problems)

    def _credentials(self, parts: dict[str, Any], path: str) -> None:
        kind, credentials = parts.get("type"), parts.get("credentials", {})
        for name, credential in credentials.items():
            # A secret in the place of a name is not told either.
            where = join(path, name) if _CREDENTIAL_NAME.fullmatch(name) else path
            if kind is not None and name not in (known := CREDENTIALS[kind]):
                hint = did_you_mean(name, known) if known else "leave credentials out"
                self._note(where, f"a {kind} channel has no credential of that name", hint)
            elif name == SIGNING_SECRET and parts.get("secret_env"):
                self._note(where, "secret_env says already where it is", "leave one of them out")
            elif isinstance(credential, str):
                self._value(kind, name, credential, where)
            elif credential.env is not None:
                self._variables(credential.env, join(where, "env"))
            elif credential.file is not None and (problem := file_trouble(credential.file)):
                self._note(join(where, "file"), problem)

    def _variables(self, named: str | None, path: str) -> None:
        """The names of environment variables that hold a credential."""
        for name in (named or "").split(","):
            if name.startswith("whsec_"):
                self._note(path, "this looks like the secret itself", "put the NAME of its variable here")
            elif is_setting(name):
                self._note(
                    path, f"{name} is a setting of sentinel's own", "a credential has a variable of its own"
                )

    def _value(self, kind: str | None, name: str, text: str, path: str) -> None:
        """A value itself, which no problem may quote."""
        values = values_of(text)
        if not values:
            self._note(path, "the value is empty")
        elif problem := trouble(values):
            self._note(path, f"the value {problem}")
        elif (parser := _VALUE_PARSERS.get(name)) is not None:
            try:
                for value in values:
                    parser[0](value)
            except ValueError as error:
                self._note(path, str(error), parser[1])
        elif name == "url" and kind != "apprise":
            try:
                for value in values:
                    guard.check_url(value, self._policy)
            except CheckFailure:
                self._note(path, "the value is not an address that may be called", "https://...")
        elif (form := _VALUE_FORMS.get(name)) and not all(form[0].fullmatch(value) for value in values):
            self._note(path, "the value does not look like one", form[1])

    def _clause(self, parts: dict[str, Any], path: str) -> None:
        if not self._told(join(path, "type")):
            self._pass_on(conditions.clause_trouble(parts), path)

    def _normalization(self, parts: dict[str, Any], path: str) -> None:
        low, high = parts.get("min"), parts.get("max")
        if low is not None and high is not None and low > high:
            self._note(join(path, "min"), f"min {low} is over max {high}")
        self._pass_on(schedule.check_timezone(parts.get("timezone")), path)

    def _rule(self, parts: dict[str, Any], path: str) -> None:
        if (url := parts.get("url")) is not None:
            self._address(url, join(path, "url"))
        self._pass_on(conditions.fields_trouble(parts), path)
        self._pass_on(conditions.rule_trouble(parts), path)

    def references(self, written: Any) -> None:
        """Ids given twice, channels that do not exist; asked of plain values, whose places are known."""
        if not isinstance(written, dict):
            return
        channels = _named(written.get("channels"))
        self._unique(channels, "channels")
        known = [one for one in channels if one] + list(self._known_channels)
        self._fallbacks(written.get("channels"), known)
        self._workspace_routes(written.get("workspace"), known)
        rules = written.get("rules")
        self._unique(_named(rules), "rules")
        for index, rule in enumerate(rules if isinstance(rules, list) else []):
            policy = rule.get("alertPolicy") if isinstance(rule, dict) else None
            if isinstance(policy, dict):
                self._leads_to(policy, known, f"rules[{index}].alertPolicy")
                self._unique(_named(policy.get("conditions")), f"rules[{index}].alertPolicy.conditions")

    def _fallbacks(self, channels: Any, known: list[str]) -> None:
        """Where each channel leads that cannot be told."""
        ways: dict[str, str | None] = {}
        places: dict[str, str] = {}
        for index, one in enumerate(channels if isinstance(channels, list) else []):
            match one:
                case {"id": str(name), "fallback": str(instead)}:
                    ways[name] = instead
                    places[name] = f"channels[{index}].fallback"
        for name, path in places.items():
            instead = ways[name] or ""
            if instead not in known:
                self._note(path, f"there is no channel {shown(instead)}", did_you_mean(instead, known))
            elif problem := fallbacks.trouble(name, ways):
                self._note(path, problem)

    def _workspace_routes(self, space: Any, known: list[str]) -> None:
        routes = space.get("routes") if isinstance(space, dict) else None
        if isinstance(routes, list):
            self._unique(_named(routes), "workspace.routes")
            for index, route in enumerate(routes):
                if isinstance(route, dict):
                    self._leads_to(route, known, f"workspace.routes[{index}]")

    def _leads_to(self, written: dict[str, Any], known: list[str], path: str) -> None:
        """The channels of a route or policy, and of its escalation."""
        self._routes(written.get("channels"), known, f"{path}.channels")
        if isinstance(escalation := written.get("escalate"), dict):
            self._routes(escalation.get("channels"), known, f"{path}.escalate.channels")

    def _routes(self, wanted: Any, known: list[str], path: str) -> None:
        for index, name in enumerate(wanted if isinstance(wanted, list) else []):
            if isinstance(name, str) and name not in known:
                hint = did_you_mean(name, known) if known else "define it under channels:"
                self._note(f"{path}[{index}]", f"there is no channel {shown(name)}", hint)

    # --- what several need ---

    def _address(self, url: str, path: str) -> None:
        try:
            guard.check_url(url, self._policy)
        except CheckFailure as failure:
            # The guard says what is wrong in one sentence and what to do about it in the next.
            message, _, hint = (failure.detail or failure.code).partition(". ")
            if failure.code == "FETCH_REFUSED_ADDRESS" and not hint and not self._policy.allow_private:
                hint = "set SENTINEL_ALLOW_PRIVATE_NETWORKS=true to reach private and loopback addresses"
            self._note(path, message, hint)

    def _pass_on(self, problems: Iterable[Problem], path: str) -> None:
        """What others found wrong with the struct at `path`."""
        for problem in problems:
            where = f"{path}.{problem.path}" if problem.path else path
            self._note(where, problem.message, problem.hint)

    def _unique(self, ids: list[str | None], path: str) -> None:
        first: dict[str, int] = {}
        for index, one in enumerate(ids):
            if one is not None and one in first:
                before = f"{path}[{first[one]}]"
                self._note(
                    f"{path}[{index}].id",
                    f"the id {shown(one)} is used by {before} already",
                    "ids are unique",
                )
            elif one is not None:
                first[one] = index


def _as_written(name: str) -> str:
    """A field as it is written in a file: chat_id -> chatId."""
    first, *rest = name.split("_")
    return first + "".join(map(str.capitalize, rest))


def _named(written: Any) -> list[str | None]:
    """The id of each element, None where it has none."""
    listed = written if isinstance(written, list) else []
    ids = [one.get("id") if isinstance(one, dict) else None for one in listed]
    return [one if isinstance(one, str) else None for one in ids]


def _stood_in(parts: dict[str, Any]) -> dict[str, Any]:
    """What could not be read (and is told already) replaced by something harmless, so that places stay."""
    steps = [_HARMLESS_STEP if one is BAD else one for one in parts.get("postprocess", [])]
    fallbacks = [_HARMLESS_FALLBACK if one is BAD else one for one in parts.get("fallback_selectors", [])]
    return {**parts, "postprocess": steps, "fallback_selectors": fallbacks}


_HARMLESS_STEP: Final = "trim"
_HARMLESS_FALLBACK: Final = FallbackSelector(selector="body")
