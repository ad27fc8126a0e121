"""What holds for the tree as a whole: what it names, what it imports, what it ships, what its floors catch."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("streamq", "sentinel")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

#: In parts, so that this file does not name them.
REGISTRY_HOSTS = [
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pypi", "python", "org"),
        ("pythonhosted", "org"),
        ("registry", "npmjs", "org"),
        ("npmjs", "com"),
        ("registry", "yarnpkg", "com"),
        ("deb", "debian", "org"),
        ("security", "debian", "org"),
        ("archive", "ubuntu", "com"),
        ("proxy", "golang", "org"),
        ("crates", "io"),
        ("docker", "io"),
    )
]
#: Where this happened to be written; `/worker` and `~/work` of other people are fine.
MACHINE_PATHS = re.compile("|".join(["/work" + "/(?:main|shared)", "/opt" + "/venv", "/root" + r"/\.?\w"]))


def files_of_the_tree() -> list[Path]:
    """Those git knows; where there is no git, all that no tool made."""
    git = shutil.which("git")
    if git and (ROOT / ".git").exists():
        listed = subprocess.run(
            [git, "-c", "safe.directory=*", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True
        ).stdout
        return [path for name in listed.split(b"\0") if name and (path := ROOT / os.fsdecode(name)).is_file()]
    made = {".git", ".venv", "__pycache__", "node_modules", "htmlcov", "dist", ".sentinel"}
    return [
        Path(folder) / name
        for folder, folders, names in os.walk(ROOT)
        if not folders.__setitem__(
            slice(None), [one for one in folders if one not in made and "_cache" not in one]
        )
        for name in names
    ]


def texts_of_the_tree() -> dict[str, str]:
    found = {}
    for path in files_of_the_tree():
        body = path.read_bytes()
        if b"\0" not in body[:8000]:
            found[str(path.relative_to(ROOT))] = body.decode("utf-8", errors="replace")
    return found


def test_no_file_names_a_package_registry() -> None:
    texts = texts_of_the_tree()
    assert len(texts) > 30
    named = {name: host for name, text in texts.items() for host in REGISTRY_HOSTS if host in text}
    assert named == {}


def test_no_file_names_a_path_of_the_machine_it_was_written_on() -> None:
    named = {
        name: found[0] for name, text in texts_of_the_tree().items() if (found := MACHINE_PATHS.search(text))
    }
    assert named == {}


# --- what is imported and shipped -------------------------------------------------------------------


def modules_after(statement: str) -> set[str]:
    """The top-level names of all modules that a fresh Python has after it."""
    program = f"import sys; {statement}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_importing_streamq_brings_in_redis_msgspec_and_anyio_only() -> None:
    ours = {"streamq", "redis", "msgspec", "anyio"}
    theirs = {
        "idna", "typing_extensions", "sniffio", "async_timeout", "exceptiongroup",  # of anyio and redis
        "hiredis",  # which redis takes where it is there
        "jwt", "cryptography", "_cffi_backend", "cachetools", "requests",  # which redis tries
        "opentelemetry", "psutil",  # the same: where their SDK is, as it is here for the tests
    }  # fmt: skip
    tooling = {"coverage", "_virtualenv", "a1_coverage"}
    before = modules_after("pass")
    brought = modules_after("import streamq") - before - set(sys.stdlib_module_names) - tooling
    assert brought - theirs == ours - before
    assert not brought & {
        "sentinel",
        "typer",
        "sqlalchemy",
        "httpx",
        "prometheus_client",
        "playwright",
        "yaml",
        "lxml",
    }


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_says_that_it_is_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").exists()


def test_the_wheel_carries_every_file_of_both_packages(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    shipped = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        name
        for path in files_of_the_tree()
        if (name := path.relative_to(ROOT).as_posix()).partition("/")[0] in PACKAGES
    }
    assert wanted - shipped == set()
    assert any(name.endswith(".lua") for name in shipped)
    assert not any(name.startswith("tests/") for name in shipped)


# --- pins -------------------------------------------------------------------------------------------


def pins_of(name: str) -> dict[str, str]:
    text = (ROOT / "requirements" / name).read_text().replace("\\\n", " ")
    return {line.split("==")[0]: line for line in text.splitlines() if line.strip()}


def wanted_by(*extras: str) -> set[str]:
    project = PYPROJECT["project"]
    found = set()
    lists = [project["dependencies"], *(project["optional-dependencies"][extra] for extra in extras)]
    for words in (line for one in lists for line in one):
        name = re.split(r"[\[<>=;~! ]", words)[0].lower().replace("_", "-")
        if name == project["name"]:
            found |= wanted_by(*re.findall(r"[\w-]+", words.partition("[")[2]))
        else:
            found.add(name)
    return found


@pytest.mark.parametrize("name", ["runtime.txt", "dev.txt", "pip.txt"])
def test_every_pin_carries_its_hashes(name: str) -> None:
    loose = [pin for pin, line in pins_of(name).items() if "--hash=sha256:" not in line or "==" not in line]
    assert loose == []


def test_everything_that_is_asked_for_is_pinned() -> None:
    assert wanted_by("worker", "embedded", "build") - set(pins_of("runtime.txt")) == set()
    assert wanted_by("dev") - set(pins_of("dev.txt")) == set()


def test_what_is_tested_is_what_runs() -> None:
    tested = pins_of("dev.txt")
    assert {name: line for name, line in pins_of("runtime.txt").items() if tested.get(name) != line} == {}


# --- floors -----------------------------------------------------------------------------------------

#: One line per contract of pyproject, by the words of its name, that must break it.
VIOLATIONS = {
    "streamq's floors": ("streamq/retry.py", "import streamq.broker"),
    "sentinel's floors": ("sentinel/model.py", "import sentinel.jobs"),
    "streamq knows jobs, not pages": ("streamq/broker.py", "import httpx"),
    "judgement and model are pure": ("sentinel/decide/__init__.py", "import sqlalchemy"),
    "only the Redis broker": ("streamq/keys.py", "import redis"),
    "SQL only in the store": ("sentinel/jobs.py", "import alembic"),
    "front door": ("sentinel/jobs.py", "import streamq.keys"),
}


def contracts() -> list[str]:
    return [contract["name"] for contract in PYPROJECT["tool"]["importlinter"]["contracts"]]


def test_each_contract_has_a_planted_violation() -> None:
    without = [name for name in contracts() if not any(words in name for words in VIOLATIONS)]
    assert without == []


def test_the_floors_catch_what_is_planted_against_each_of_them(tmp_path: Path) -> None:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for name, line in VIOLATIONS.values():
        with (tmp_path / name).open("a") as file:
            file.write(f"\n{line}\n")

    said = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "COLUMNS": "300"},
        capture_output=True,
        text=True,
        check=False,
    ).stdout

    kept = [name for name in contracts() if f"{name} BROKEN" not in " ".join(said.split())]
    assert kept == [], said


def test_the_environment_comes_in_at_one_place() -> None:
    reading = re.compile(r"\bgetenv\(|\bos\.environ\b|\bimport environ\b")
    readers = {
        name
        for name, text in texts_of_the_tree().items()
        if name.endswith(".py") and name.partition("/")[0] in PACKAGES and reading.search(text)
    }
    # The first hands it to Settings.load; the second passes it on to children, with one variable of its own.
    assert readers <= {"sentinel/cli/main.py", "streamq/parent.py"}


# --- the script -------------------------------------------------------------------------------------


def dev(*words: str, folder: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["./dev", *words],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_script_without_words_tells_what_it_can_do() -> None:
    done = dev()
    assert done.returncode == 0
    assert "usage: ./dev" in done.stdout


def test_the_script_refuses_a_command_it_does_not_know() -> None:
    done = dev("tset")
    assert done.returncode == 1
    assert "unknown command: tset" in done.stderr


def test_the_script_says_which_python_it_wants_where_there_is_none(tmp_path: Path) -> None:
    shutil.copy(ROOT / "dev", tmp_path)
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    done = dev("setup", folder=tmp_path, PYTHON="python-of-nowhere")
    assert done.returncode == 1
    assert "no Python 3.11 or newer found as python-of-nowhere" in done.stderr
    assert not (tmp_path / ".venv").exists()
