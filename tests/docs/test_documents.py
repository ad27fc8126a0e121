"""What the documents say is so: their files, commands, samples and tables, held against the program."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer

from bench.__main__ import main as bench
from sentinel.cli.exits import Exit
from sentinel.cli.main import COMMANDS, FLAGS, WITH_VALUE, hoist, load, main, root
from sentinel.fetch.guard import NetworkPolicy
from sentinel.model import Document, DocumentField, RulesFile
from sentinel.render import to_json
from sentinel.rulefile import load as load_rules
from sentinel.rulefile.conditions import FITTING
from sentinel.settings import VARIABLES
from tests.end_to_end.shapes import SCHEMAS, VALUES, checked
from tests.scenarios import browsers
from tests.scenarios.test_scenarios import HISTORIES
from tests.support.documents import DOCUMENTS, EVERY_DOCUMENT, REPOSITORY, Block, blocks, cells, named, table

DOCS = REPOSITORY / "docs"
#: Words of the documents that stand for something of the reader's own.
STAND_INS = {
    "STREAM": "rules:run",
    "JSON": "{}",
    "FILE": "f.yaml",
    "RULE": "r",
    "ALERT": "a",
    "CHANNEL": "c",
    "ID": "j",
    "NAME": "w",
    "N": "3",
    "URL": "http://e.test/",
}


# --- links ----------------------------------------------------------------------------------------------


def links() -> Iterator[tuple[Path, str]]:
    for path in EVERY_DOCUMENT:
        text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            yield path, target


def anchors(path: Path) -> set[str]:
    """Headings as they are linked to."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_link_within_the_tree_leads_somewhere() -> None:
    inside = [
        (path, target) for path, target in links() if "://" not in target and not target.startswith("mailto:")
    ]
    assert len(inside) > 20
    broken = []
    for path, target in inside:
        file, _, anchor = target.partition("#")
        led_to = (path.parent / file) if file else path
        if not led_to.exists() or (anchor and anchor not in anchors(led_to)):
            broken.append(f"{path.name}: {target}")
    assert broken == []


def test_every_page_is_in_the_index() -> None:
    index = (DOCS / "README.md").read_text()
    missing = [
        path.name for path in DOCS.glob("*.md") if path.name != "README.md" and f"({path.name})" not in index
    ]
    assert missing == []


def test_every_page_opens_with_its_diagram() -> None:
    first = {path.name: path.read_text().split("\n")[2] for path in DOCS.glob("*.md")}
    assert set(first.values()) == {"```"}, first


# --- commands -------------------------------------------------------------------------------------------


def command_lines() -> list[tuple[str, list[str]]]:
    """Every `sentinel-worker ...` line of a block, and every command in the first column of cli.md's table."""
    found = []
    for block in blocks("", "sh"):
        for line in block.text.splitlines():
            words = shlex.split(line, comments=True)
            if words and words[0] == "sentinel-worker":
                found.append((str(block), words[1:]))
    for row in table(DOCS / "cli.md", "Commands"):
        commands = [shlex.split(one) for one in cells(row[0])]
        found += [("cli.md", [STAND_INS.get(word, word) for word in words]) for words in commands]
    return found


def command_of(words: list[str]) -> Any:  # Any: a Command of this Typer
    """The command that some words call, and what is left of them; fails where there is none."""
    assert words[0] in COMMANDS, f"no command {words[0]}"
    command, rest = load(words[0]), words[1:]
    while rest and getattr(command, "commands", None) and rest[0] in command.commands:
        command, rest = command.commands[rest[0]], rest[1:]
    return command, rest


@pytest.mark.parametrize(
    "words",
    [pytest.param(words, id=f"{n}-{' '.join(words)[:40]}") for n, (_, words) in enumerate(command_lines())],
)
def test_a_command_line_is_one_the_program_takes(words: list[str]) -> None:
    ours = [word for word in hoist(words) if word not in FLAGS]
    while ours[0] in WITH_VALUE:
        ours = ours[2:]
    command, rest = command_of(ours)
    command.make_context(command.name, list(rest))  # raises a usage error where an option or value is wrong


def test_the_options_that_cli_md_names_beside_a_command_are_its_own() -> None:
    for row in table(DOCS / "cli.md", "Commands"):
        takers = [command_of([STAND_INS.get(w, w) for w in shlex.split(one)])[0] for one in cells(row[0])]
        known = {option for taker in takers for p in taker.params for option in (*p.opts, *p.secondary_opts)}
        told = {word for one in cells(row[1]) for word in one.split() if word.startswith("--")}
        assert told <= known, (row[0], told - known)


def test_cli_md_names_every_command_and_every_global_option() -> None:
    page = (DOCS / "cli.md").read_text()
    told = {" ".join(one.split()[:2]) for row in table(DOCS / "cli.md", "Commands") for one in cells(row[0])}
    for name in COMMANDS:
        group = getattr(load(name), "commands", None) or {}
        wanted = {f"{name} {sub}" for sub in group} if group and name != "migrate" else {name}
        assert wanted <= told | {one.split()[0] for one in told}, wanted - told
    assert all(f"`{flag}" in page for flag in FLAGS | WITH_VALUE)


def test_the_exit_codes_are_the_programs() -> None:
    assert [int(row[0]) for row in table(DOCS / "cli.md", "Exit codes")] == [int(code) for code in Exit]


def test_settings_md_has_every_setting_with_its_default_and_flag() -> None:
    told = {cells(row[0])[0]: (row[1], cells(row[2])) for row in table(DOCS / "settings.md", "Settings")}
    assert list(told) == [variable.name for variable in VARIABLES]
    for variable in VARIABLES:
        default = variable.default if variable.default not in (None, ()) else ""
        spelt = (
            str(default).lower()
            if isinstance(default, bool)
            else f"{default:g}"
            if isinstance(default, float)
            else str(default)
        )
        assert told[variable.name][0] == spelt, variable.name
    options = {
        option for p in (*typer.main.get_command(root).params, *load("run").params) for option in p.opts
    }
    assert {flag for _, flags in told.values() for flag in flags} <= options


# --- samples --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", blocks("yaml"), ids=str)
def test_a_rules_file_is_accepted(block: Block, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(block.text)
    environ = {"SENTINEL_STATE_DIR": str(tmp_path / "state")}
    assert main(["rules", "import", str(path), "--dry-run"], environ=environ) == Exit.DONE, (
        capsys.readouterr().err
    )


def struct_fields(kind: Any, seen: set[Any] | None = None) -> Iterator[str]:
    """Every field of a struct and of those inside it, as it is written."""
    seen = set() if seen is None else seen
    if kind in seen:
        return
    seen.add(kind)
    for field in msgspec.structs.fields(kind):
        yield field.encode_name
        for inner in structs_in(field.type):
            yield from struct_fields(inner, seen)


def structs_in(kind: Any) -> Iterator[Any]:
    """The structs that a type names, however deep."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield kind
    for inner in getattr(kind, "__args__", ()):
        yield from structs_in(inner)


def test_rules_md_shows_every_field_of_a_rules_file() -> None:
    page = (DOCS / "rules.md").read_text()
    fields = set(struct_fields(RulesFile))
    assert len(fields) > 50
    shown = set(re.findall(r"[{\s,-](\w+):", page)) | {
        part for one in cells(page) for part in re.split(r"\W", one)
    }
    assert fields - shown == set()


def test_rules_md_says_which_condition_fits_which_type() -> None:
    told = {row[0]: set(row[1].split(", ")) for row in table(DOCS / "rules.md", "Conditions by type of rule")}
    assert told == {kind: set(conditions) for kind, conditions in FITTING.items()}


def json_documents() -> list[Any]:
    return [
        pytest.param(json.loads(line), id=f"{block}-{n}")
        for block in blocks("json", paths=[DOCS / "cli.md"])
        for n, line in enumerate(block.text.splitlines())
    ]


@pytest.mark.parametrize("document", json_documents())
def test_a_json_sample_has_the_shape_that_the_program_keeps(document: dict[str, Any]) -> None:
    checked(document, kind="price" if "value" in document else None)


def test_cli_md_shows_every_document_and_every_kind_of_value() -> None:
    shown = {parameter.values[0]["schema"] for parameter in json_documents()}
    assert shown == set(SCHEMAS)
    told = {row[0]: cells(row[1]) for row in table(DOCS / "cli.md", "Values")}
    assert list(told) == list(VALUES)
    for kind, samples in told.items():
        if samples:
            msgspec.convert(json.loads(samples[0]), VALUES[kind])


def keys(value: Any, path: str = "") -> set[str]:
    """Every key of a JSON document with its place; of lists the first item speaks for all."""
    if isinstance(value, dict):
        return {f"{path}.{name}" for name in value} | {
            k for name, v in value.items() for k in keys(v, f"{path}.{name}")
        }
    return keys(value[0], f"{path}[]") if isinstance(value, list) and value else set()


def test_webhooks_md_shows_the_body_that_is_sent() -> None:
    price = {"amount": "149.99", "currency": "EUR"}
    sent = to_json(
        Document(
            alert_id="7", workspace_id="acme", rule_id="widget-price", kind="change", severity="warning",
            title="t", rule="r", link="https://shop.example.com/widget", occurred_at=1.0, change="decreased", percent="-13.33",
            fields=(DocumentField(name="value", before=price, after=price),), conditions=(("drop", "warning"),),
        )
    )  # fmt: skip
    assert keys(json.loads(named("alert.json").text)) == keys(json.loads(sent))


# --- what is promised -------------------------------------------------------------------------------------


def test_every_test_that_a_page_names_exists() -> None:
    named_tests = {
        one for path in DOCUMENTS for one in re.findall(r"`(tests/[\w/]+\.py::[\w:]+)`", path.read_text())
    }
    assert len(named_tests) > 15
    missing = []
    for name in named_tests:
        path, *parts = name.split("::")
        file = REPOSITORY / path
        if not file.exists() or not re.search(rf"def {parts[-1]}\(", file.read_text()):
            missing.append(name)
    assert missing == []


def test_the_scripts_that_a_page_names_exist() -> None:
    scripts = {one for path in DOCUMENTS for one in re.findall(r"`(\w+\.lua)`", path.read_text())}
    assert scripts
    assert {script for script in scripts if not (REPOSITORY / "streamq/lua" / script).exists()} == set()


def test_every_policy_in_a_page_loads_without_a_private_address() -> None:
    for block in blocks("yaml"):
        load_rules(block.text, NetworkPolicy(allow_private=False))


# --- figures --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", EVERY_DOCUMENT, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_figures_on_a_page_are_what_the_command_above_them_prints(
    page: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    found = re.findall(
        r"<!-- \./dev bench (.+?) -->\n(.+?)<!-- end -->", page.read_text(encoding="utf-8"), re.DOTALL
    )
    assert found or page != REPOSITORY / "README.md"
    for words, told in found:
        assert bench(shlex.split(words)) == 0
        assert told.strip() == capsys.readouterr().out.strip()


def test_the_readme_counts_the_scripted_histories() -> None:
    told = re.search(r"\[(\d+) scripted histories of pages\]", (REPOSITORY / "README.md").read_text())
    assert told is not None
    assert int(told[1]) == len(HISTORIES) + len(browsers.HISTORIES)
