"""YAML to plain values and back, within limits.

YAML 1.1 reads `no` as false, `22:00` as 1320 and `2026-01-01` as a date; here only what YAML 1.2's
core says is more than text (true, false, null, numbers). Fractions are Decimal, so 19.90 stays
19.90. A key given twice is a mistake and refused, not the last one taken.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import yaml

from sentinel.errors import Problem, RuleFileError

# `Any` in this module is a plain value: dict, list, text, number, bool or None.

#: Bytes of a file: 30,000 rules of ordinary length.
MAX_BYTES: Final = 16 << 20
MAX_DEPTH: Final = 40
#: Values in the file once every alias is written out ("billion laughs" has 10^9).
MAX_VALUES: Final = 2_000_000

# libyaml where it was built in (PyYAML's wheels), ten times faster than its twin in Python.
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DumpBase: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Loader(_Base):  # type: ignore[misc] # chosen at run time
    """Safe, YAML 1.2 scalars, no key twice."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own name, filled below

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE:
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"{key.value!r} is given twice", key.start_mark
                    )
                seen.add(key.value)
        made: dict[Any, Any] = super().construct_mapping(node, deep)
        return made


_MERGE: Final = "tag:yaml.org,2002:merge"
_FRACTION: Final = r"[-+]?(?:\.[0-9]{1,1000}|[0-9]{1,1000}\.[0-9]{0,1000})"
_EXPONENT: Final = r"[eE][-+]?[0-9]{1,3}"
_CORE: Final = (
    ("tag:yaml.org,2002:bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("tag:yaml.org,2002:int", r"[-+]?[0-9]{1,1000}", "-+0123456789"),
    ("!decimal", rf"{_FRACTION}(?:{_EXPONENT})?|[-+]?[0-9]{{1,1000}}{_EXPONENT}", "-+.0123456789"),
    ("tag:yaml.org,2002:null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    (_MERGE, r"<<", "<"),
)  # fmt: skip
for _tag, _pattern, _first in _CORE:
    _Loader.add_implicit_resolver(_tag, re.compile(rf"^(?:{_pattern})$"), list(_first))
_Loader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(loader.construct_scalar(node)))
_Loader.add_constructor("!decimal", lambda loader, node: Decimal(loader.construct_scalar(node)))


class _Dumper(_DumpBase):  # type: ignore[misc] # chosen at run time
    """Numbers as written, lists indented as people do."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - PyYAML's signature
        return True


def _text_scalar(dumper: Any, value: str) -> Any:
    """Quoted where reading it back would make it a number."""
    style = "'" if any(pattern.match(value) for pattern in _NOT_TEXT) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_NOT_TEXT: Final = [re.compile(rf"(?:{pattern})\Z") for _, pattern, _ in _CORE]
_Dumper.add_representer(str, _text_scalar)
_Dumper.add_representer(
    Decimal, lambda dumper, value: dumper.represent_scalar("tag:yaml.org,2002:float", f"{value:f}")
)


def read(source: Path | str) -> Any:
    """The plain value of a YAML text or file. Raises RuleFileError with one problem."""
    return _read(source, lambda text: yaml.load(text, Loader=_Loader))  # noqa: S506 - _Loader is a SafeLoader


def read_all(source: Path | str) -> list[Any]:
    """The same of each document of a file that has several, `---` between them."""
    found: list[Any] = _read(source, lambda text: list(yaml.load_all(text, Loader=_Loader)))
    return found


def _read(source: Path | str, load: Callable[[str], Any]) -> Any:
    text = _text(source)
    try:
        _measure(text)
        return load(text)
    except yaml.MarkedYAMLError as exc:
        raise _refused(_where(exc), _reason(exc), _hint(exc, text)) from exc
    except UnicodeError as exc:  # stdin's bytes that are no text
        raise _refused("", "the text is not UTF-8", "save it as UTF-8") from exc
    except (yaml.YAMLError, ValueError, RecursionError) as exc:
        raise _refused("", f"not YAML: {str(exc)[:300]}") from exc


def write(value: Any) -> str:
    """The YAML of a plain value."""
    made: str = yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110, default_flow_style=False
    )
    return made


def _text(source: Path | str) -> str:
    if isinstance(source, str):
        if len(source) > MAX_BYTES:
            raise _too_large()
        return source
    try:
        with source.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as exc:
        raise _refused("", f"{source} cannot be read: {exc.strerror}") from exc
    if len(content) > MAX_BYTES:
        raise _too_large()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise _refused("", f"{source} is not UTF-8 (byte {exc.start})", "save it as UTF-8") from exc


def _measure(text: str) -> None:
    """Walk the events before anything is built: depth, and what aliases amount to."""
    sizes: dict[str, int] = {}
    #: Anchor and size so far of every open list or mapping.
    opened: list[tuple[str | None, int]] = [(None, 0)]
    for event in yaml.parse(text, Loader=_Base):
        match event:
            case yaml.AliasEvent():
                # One to what is still open would contain itself; one to nothing is refused later.
                inside = any(anchor == event.anchor for anchor, _ in opened)
                grown = MAX_VALUES + 1 if inside else sizes.get(event.anchor or "", 1)
            case yaml.ScalarEvent():
                grown = 1
                if event.anchor:
                    sizes[event.anchor] = 1
            case yaml.CollectionStartEvent():
                opened.append((event.anchor, 1))
                if len(opened) > MAX_DEPTH:
                    raise _refused(_line(event), f"nested deeper than {MAX_DEPTH}")
                continue
            case yaml.CollectionEndEvent():
                anchor, grown = opened.pop()
                if anchor:
                    sizes[anchor] = grown
            case _:
                continue
        anchor, size = opened[-1]
        opened[-1] = (anchor, size + grown)
        if size + grown > MAX_VALUES:
            raise _refused(_line(event), "aliases make the file too large", "write it out")


def _line(event: yaml.Event) -> str:
    return "" if event.start_mark is None else f"line {event.start_mark.line + 1}"


def _where(exc: yaml.MarkedYAMLError) -> str:
    return (
        ""
        if exc.problem_mark is None
        else f"line {exc.problem_mark.line + 1}, column {exc.problem_mark.column + 1}"
    )


def _reason(exc: yaml.MarkedYAMLError) -> str:
    reason = exc.problem or "not understood"
    return f"not YAML: {exc.context}, {reason}" if exc.context else reason


def _hint(exc: yaml.MarkedYAMLError, text: str) -> str:
    if "\\t" in repr(exc.problem) or (
        exc.problem and "cannot start any token" in exc.problem and "\t" in text
    ):
        return "indent with spaces, not tabs"
    if exc.problem and "mapping values are not allowed" in exc.problem:
        return "a text with `: ` in it needs quotes, or the indentation is off"
    if exc.problem and "could not determine a constructor" in exc.problem:
        return "tags (`!...`) are not used here"
    return ""


def _refused(path: str, message: str, hint: str = "") -> RuleFileError:
    return RuleFileError([Problem(path, message, hint)])


def _too_large() -> RuleFileError:
    return _refused("", f"the file has more than {MAX_BYTES >> 20} MiB")
