"""Rules of other tools as ours: changedetection.io, urlwatch, webchanges.

    carry("urlwatch", path, policy) -> Carried     raises RuleFileError where the file is none of theirs

Nothing is dropped in silence: each setting that was found is carried over, carried over with another
meaning, or named with the reason why not. Secrets are never copied: a channel names the environment
variable that its credential is to be put in.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from sentinel.errors import Problem
from sentinel.fetch.guard import NetworkPolicy
from sentinel.model import RulesFile
from sentinel.rulefile import document
from sentinel.rulefile.foreign import changedetection, jobs
from sentinel.rulefile.foreign.carried import Carried, Draft, Note, Refused
from sentinel.rulefile.sense import Sense
from sentinel.rulefile.shape import BAD, Reader

# `Any` is a plain value of another tool's file.

__all__ = ["SOURCES", "Carried", "Note", "as_yaml", "carry"]

#: Tool -> what it is read by.
SOURCES: Final = {
    "changedetection": changedetection.read,
    "urlwatch": jobs.read_urlwatch,
    "webchanges": jobs.read_webchanges,
}


def carry(source: str, path: Path, policy: NetworkPolicy) -> Carried:
    """What `path` says, as rules of ours. Raises RuleFileError."""
    draft = Draft()
    SOURCES[source](path, draft)
    return _checked(draft, policy)


def as_yaml(carried: Carried) -> str:
    """A rules file a person can edit; what our own checks refuse stands at its end as a comment."""
    text = document.write(carried.value)
    for refused in carried.refused:
        told = "\n".join(
            f"{p.path}: {p.message} {f'({p.hint})' if p.hint else ''}".rstrip() for p in refused.problems
        )
        body = document.write([refused.value])
        text += "\n" + "\n".join(f"# {line}" for line in f"refused: {told}\n{body}".splitlines()) + "\n"
    return text


def _checked(draft: Draft, policy: NetworkPolicy) -> Carried:
    """Each channel and rule by itself, so that one that cannot be does not cost the others."""
    refused: list[Refused] = []
    channels = [one for one in draft.channels if _well("channels", one, (), policy, refused)]
    known = [one["id"] for one in channels]
    rules = []
    for rule in draft.rules:
        told = rule["alertPolicy"].get("channels", [])
        kept = [one for one in told if one in known]
        if kept != told:
            rule["alertPolicy"]["channels"] = kept
        if not kept:
            rule["alertPolicy"].pop("channels", None)
        if not rule["alertPolicy"]:
            del rule["alertPolicy"]
        if _well("rules", rule, known, policy, refused) or _without_browser(
            rule, known, policy, refused, draft
        ):
            rules.append(rule)
    value: dict[str, Any] = {"channels": channels} if channels else {}
    value["rules"] = rules
    for one in refused:
        words = "; ".join(f"{problem.path}: {problem.message}" for problem in one.problems)
        draft.note(one.value["id"], "", "refused", words)
    return Carried(value=value, notes=tuple(draft.notes), refused=tuple(refused))


def _without_browser(
    rule: dict[str, Any], known: Sequence[str], policy: NetworkPolicy, refused: list[Refused], draft: Draft
) -> bool:
    """Whether all that is wrong with a rule is that there is no browser here; then it does without."""
    if [problem.path for problem in refused[-1].problems] != ["fetch.mode"]:
        return False
    rule["fetch"]["mode"] = "auto"
    if not _well("rules", rule, known, policy, refused):
        refused.pop()  # told by the first one
        return False
    refused.pop()
    draft.note(rule["id"], "browser", "carried", "mode auto: there is no browser here")
    return True


def _well(
    part: str,
    value: dict[str, Any],
    known: Sequence[str],
    policy: NetworkPolicy,
    refused: list[Refused],
) -> bool:
    problems: list[Problem] = []
    sense = Sense(problems, policy, known)
    made = Reader(problems, sense).struct(RulesFile, {part: [value]}, "")
    sense.references({part: [value]})
    if problems or made is BAD:
        refused.append(Refused(value, tuple(_shortly(part, problem) for problem in problems)))
        return False
    return True


def _shortly(part: str, problem: Problem) -> Problem:
    path = problem.path.removeprefix(f"{part}[0]").lstrip(".")
    return Problem(path, problem.message, problem.hint)
