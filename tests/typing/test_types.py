"""What users write is type-checked: one run of mypy over what must pass and what must not."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

from streamq import JobOptions
from streamq.queue import new_job
from tests.support.documents import REPOSITORY

HERE = Path(__file__).parent
_SAID = re.compile(r"^.*/(\w+\.py):(\d+): error: .*\[([\w-]+)\]$", re.MULTILINE)
_WANTED = re.compile(r"# E: ([\w-]+)$")


def test_what_users_may_write_passes_and_each_mistake_is_named_in_its_line() -> None:
    files = [HERE / "accepted.py", HERE / "refused.py"]
    ran = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-error-summary", *files],
        cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    wanted = {
        (file.name, number, found[1])
        for file in files
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if (found := _WANTED.search(line))
    }
    assert len(wanted) > 15
    said = {(name, int(line), code) for name, line, code in _SAID.findall(ran.stdout)}
    assert said == wanted, ran.stdout + ran.stderr


def test_the_options_that_are_handed_on_are_those_of_a_job() -> None:
    of_a_job = get_type_hints(new_job)
    taken = {
        name: of_a_job[name]
        for name, one in inspect.signature(new_job).parameters.items()
        if one.kind is one.KEYWORD_ONLY and name != "max_payload"
    }
    assert get_type_hints(JobOptions) == taken
