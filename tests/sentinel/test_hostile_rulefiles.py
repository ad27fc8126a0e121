"""Rules files made to harm whoever reads them: a clear error, quickly, and nothing run."""

from __future__ import annotations

import pytest

from sentinel.errors import RuleFileError
from sentinel.fetch.guard import NetworkPolicy
from sentinel.rulefile import load

_LETTERS = "bcdefghij"

FILES = {
    "aliases of aliases": "a: &a [x,x,x,x,x,x,x,x,x]\n"
    + "".join(f"{c}: &{c} [{','.join([f'*{chr(ord(c) - 1)}'] * 9)}]\n" for c in _LETTERS),
    "merged maps of merged maps": "a: &a {x: 1}\n"
    + "".join(f"{c}: &{c} {{<<: [{','.join([f'*{chr(ord(c) - 1)}'] * 9)}]}}\n" for c in _LETTERS),
    "a list in itself": "&a [*a]",
    "a file in itself": "rules: &a\n- *a",
    "deep lists": "[" * 100_000,
    "deep maps": "{a: " * 20_000,
    "deep blocks": "".join(" " * depth + "a:\n" for depth in range(1500)),
    "a huge integer": "rules: " + "9" * 100_000,
    "a huge hexadecimal": "rules: 0x" + "f" * 100_000,
    "a huge octal": "rules: 0o" + "7" * 100_000,
    "base sixty": "rules: " + "1:" * 5000 + "1",
    "a float beyond floats": "rules: 1e999999",
    "infinity": "rules: .inf",
    "not a number": "rules: .nan",
    "a call": '!!python/object/apply:os.system ["true"]',
    "a module": "!!python/module:os",
    "a tag of its own": "rules: !foo bar",
    "broken base64": 'rules: !!binary "%%%"',
    "a date there is not": "rules: 9999-99-99",
    "a time there is not": "rules: 2001-13-14T25:00:00Z",
    "a set": "rules: !!set {a, b}",
    "an ordered map": "rules: !!omap [a: 1]",
    "an escaped NUL": 'rules: "\\0"',
    "a NUL": "rules: \0",
    "UTF-16": "r\0u\0",
    "a lone surrogate": 'rules: "\\ud800"',
    "a key twice": "rules: []\nrules: []",
    "two documents": "rules: []\n---\nrules: []",
    "nothing": "",
    "null": "null",
    "a list": "[]",
    "a text": '"x"',
    "a list as key": "? [a]\n: b",
    "a map as key": "? {a: b}\n: c",
    "null as key": "~: 1",
    "a long key": "a" * 200_000 + ": 1",
    "many empty rules": "rules:\n" + "- {}\n" * 500,
    "a tab": "\trules: []",
    "another YAML": "%YAML 9.9\n---\nrules: []",
    "a tag directive": "%TAG ! tag:x,2000:\n--- !y {}",
    "an alias of nothing": "rules: *x",
    "many anchors": "".join(f"a{number}: &b{number} 1\n" for number in range(500)),
    "only a comment": "#" * 300_000,
}


@pytest.mark.parametrize("name", FILES)
def test_a_hostile_rules_file_is_a_clear_error(name: str) -> None:
    with pytest.raises(RuleFileError) as caught:
        load(FILES[name], NetworkPolicy())
    assert caught.value.problems
    assert all(problem.message for problem in caught.value.problems)
