"""The commands and calls in the middle of a sentence, or in a cell of a table, are the program's too."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import streamq
from sentinel.cli.main import COMMANDS, load
from streamq.queue import new_job
from streamq.schedules import new_schedule
from streamq.testing import drain
from tests.docs.test_documents import command_of
from tests.support.documents import DOCUMENTS, cells

#: Programs of others that the pages name, and what is theirs though it is called as something of ours.
OTHER_PROGRAMS = {"rq"}
OTHERS_CALLS = {"Retry(max=3, interval=[10, 60])"}

#: What takes the options of a method that hands them on.
METHODS: dict[str, tuple[Callable[..., Any], ...]] = {
    "enqueue": (streamq.Queue.enqueue, new_job),
    "enqueue_jobs": (streamq.Queue.enqueue_jobs,),
    "on": (streamq.Handlers.on,),
    "recur": (streamq.Handlers.recur, new_schedule),
    "drain": (drain,),
}


def spans() -> Iterator[tuple[str, str]]:
    """Page and text of each piece of code within the lines."""
    for path in DOCUMENTS:
        text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        yield from ((path.name, one) for one in cells(text))


def subcommands() -> dict[str, set[str]]:
    return {name: set(getattr(load(name), "commands", None) or {}) for name in COMMANDS}


def test_a_command_in_a_sentence_and_its_options_are_the_programs() -> None:
    named = [(page, span) for page, span in spans() if span.startswith("sentinel-worker ")]
    assert len(named) > 10
    for page, span in named:
        words = shlex.split(span)[1:]
        command, rest = command_of(words)
        known = {option for one in command.params for option in (*one.opts, *one.secondary_opts)}
        unknown = {word for word in rest if word.startswith("--") and word not in known}
        assert not unknown, f"{page}: {span}"
        assert not rest or not getattr(command, "commands", None), f"{page}: {span}: no such command"


def test_two_words_that_read_as_a_command_are_one() -> None:
    groups = subcommands()
    actions = set[str]().union(*groups.values())
    wrong = []
    for page, span in spans():
        first, _, rest = span.partition(" ")
        second = rest.partition(" ")[0]
        if not re.fullmatch("[a-z-]+", first) or not re.fullmatch("[a-z-]+", second):
            continue
        ours = second in groups.get(first, ())
        if first not in OTHER_PROGRAMS and not ours and (second in actions or groups.get(first)):
            wrong.append(f"{page}: {span}")
    assert wrong == []


def calls() -> list[Any]:
    found = []
    for page, span in spans():
        try:
            tree = ast.parse(span, mode="eval")
        except SyntaxError:
            continue
        if span not in OTHERS_CALLS:
            found += [pytest.param(one, id=f"{page}-{ast.unparse(one)[:50]}") for one in _ours(tree)]
    return found


def _ours(tree: ast.AST) -> Iterator[ast.Call]:
    for one in ast.walk(tree):
        if isinstance(one, ast.Call) and one.keywords and _takers(one):
            yield one


def _takers(call: ast.Call) -> tuple[Callable[..., Any], ...]:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else ast.unparse(call.func)
    return (getattr(streamq, name),) if name in streamq.__all__ else METHODS.get(name, ())


@pytest.mark.parametrize("call", calls())
def test_a_call_in_a_sentence_names_options_that_there_are(call: ast.Call) -> None:
    known = {name for one in _takers(call) for name in inspect.signature(one).parameters}
    assert {option.arg for option in call.keywords} <= known
