"""The documents of this tree: their blocks of code, links and tables, for the tests that hold them to it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
#: What a reader is given; docs/decisions is history and holds no instructions.
DOCUMENTS = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
EVERY_DOCUMENT = sorted({*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")})

_BLOCK = re.compile(r"^```(\w*)(?:[ ]+(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    path: Path
    #: As written after the fence: python, yaml, json, sh ...; '' for diagrams and commands.
    language: str
    #: The file it is to be: the word after the language.
    name: str
    text: str
    #: Of the fence, from 1.
    line: int

    def __str__(self) -> str:
        return f"{self.path.relative_to(REPOSITORY)}:{self.line}{f' {self.name}' if self.name else ''}"


def blocks(*languages: str, paths: list[Path] | None = None) -> list[Block]:
    """Every block in these languages."""
    found = []
    for path in DOCUMENTS if paths is None else paths:
        text = path.read_text(encoding="utf-8")
        for match in _BLOCK.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            block = Block(path, match[1], match[2] or "", match[3], line)
            if block.language in languages:
                found.append(block)
    return found


def named(name: str) -> Block:
    """The one block that is the file `name`."""
    found = [block for block in blocks("python", "sh", "js", "yaml", "json", "text") if block.name == name]
    assert len(found) == 1, f"{name}: {[str(block) for block in found]}"
    return found[0]


def table(path: Path, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its head."""
    lines = path.read_text(encoding="utf-8").splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("#") and line.strip("# ") == heading)
    rows = []
    for line in lines[start + 1 :]:
        if line.startswith("|"):
            rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]])
        elif rows or line.startswith("#"):
            break
    assert len(rows) > 2, f"no table below {heading!r} in {path.name}"
    return rows[2:]


def cells(text: str) -> list[str]:
    """What is in backticks."""
    return re.findall(r"`([^`\n]+)`", text.replace("```", ""))


def at(text: str, *, port: int) -> str:
    """What a document says, for a Redis at `port`: the one thing that is not run as it is written."""
    return (
        text.replace("redis://localhost:6379/0", f"redis://localhost:{port}/0")
        .replace("net.connect(6379,", f"net.connect({port},")
        .replace("redis-cli ", f"redis-cli -p {port} ")
    )
