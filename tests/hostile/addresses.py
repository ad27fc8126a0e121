"""URLs of rules, what names lead to, and where redirects lead."""

from __future__ import annotations

import re
from ipaddress import ip_address

from sentinel.model import FetchProfile
from tests.hostile import checks
from tests.hostile.rows import Judge, NotRun, Row, text_of
from tests.hostile.stage import Stage
from tests.support.http import RawHandler, Reply, Request

#: Nothing of these may come to another origin.
SECRET = "s3cr3t-c4n4ry"
SECRETIVE = FetchProfile(
    mode="http",
    headers={"Authorization": f"Bearer {SECRET}", "X-Api-Key": SECRET, "Cookie": f"a={SECRET}"},
    cookies={"sid": SECRET},
)
_ANSWER = re.compile(r"\b(?:A|AAAA)=([0-9a-fA-F:.]+)")


def url(row: Row, stage: Stage) -> Judge:
    """Held against `rules import`, and, put past it into the database, checked by the worker."""
    written = text_of(row.input)
    rule = stage.rule(written) if checks.is_storable(written) else None

    def judged() -> str:
        problems = checks.import_problems({"url": written})
        if row.is_control:
            return problems or checks.read(stage, rule or "")
        if not problems:
            return "rules import takes it"
        return checks.refused(stage, rule) if rule is not None else ""

    return judged


def dns(row: Row, stage: Stage) -> Judge:
    """Answers as `A=1.2.3.4 then A=127.0.0.1`; several between two `then` are one answer."""
    answers = [_ANSWER.findall(part) for part in re.split(r"\bthen\b", row.input)]
    if not any(answers):
        raise NotRun("no answers can be read out of it")
    host = stage.host(*answers)
    first = answers[0]
    rule = stage.rule(f"http://{host}/")
    other = stage.rule(f"http://{host}/again")

    def judged() -> str:
        if row.expected == "connect_first_answer_only":
            # Whoever comes first has the first answer; the other lookup has the second, and is refused.
            codes = sorted(str(checks.code_of(stage, one)) for one in (rule, other))
            if codes != ["FETCH_REFUSED_ADDRESS", "None"]:
                return f"{checks.told(stage, rule)}; {checks.told(stage, other)}"
            return "" if first[0] in dict(stage.dialled) else f"{first[0]} was not dialled"
        for one in (rule, other):
            if row.is_control and (wrong := checks.read(stage, one)):
                return wrong
            if not row.is_control and checks.code_of(stage, one) not in (
                "FETCH_REFUSED_ADDRESS",
                "FETCH_DNS",
            ):
                return checks.told(stage, one)
        reached = dict(stage.dialled)
        bad = [one for one in first if not row.is_control and one in reached and ip_address(one).is_global]
        return f"{bad} were dialled" if bad else ""

    return judged


def redirect(row: Row, stage: Stage) -> Judge:
    """A page of a good host that answers 302; by the word `chain:` it is reached over three more."""
    written = row.input.removeprefix("chain:")
    if row.expected == "follow_without_credentials":
        return _credentials(row, stage)
    location = _evaluated(written)
    target = stage.page(_sent_to(location))
    if written != row.input:
        for _ in range(3):
            target = stage.page(Reply(status=307, headers={"Location": target}))
    rule = stage.rule(target)
    judge = checks.judge(stage, rule, row.expected)
    if judge is None:
        raise NotRun(f"no redirect ends with {row.expected!r}")
    return judge


def _evaluated(written: str) -> str:
    """A lone expression, whose text need not be ASCII."""
    try:
        return text_of(written)
    except (SyntaxError, NameError) as error:
        raise NotRun(f"its expression does not stand alone: {error}") from error


def _sent_to(location: str) -> RawHandler:
    async def send(request: Request, writer: object) -> None:
        head = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: "
        writer.write(head + location.encode("utf-8", "surrogateescape") + b"\r\n\r\n")  # type: ignore[attr-defined]
        await writer.drain()  # type: ignore[attr-defined]

    return send


def _credentials(row: Row, stage: Stage) -> Judge:
    found = re.match(r"(https?)://\S+", row.input)
    scheme = found[1] if found else "http"
    host, path = stage.host(), f"/landing{row.number}"
    (stage.secure if scheme == "https" else stage.site).route(path, Reply(body="<p id=v>fine</p>"))
    start = stage.page(Reply(status=302, headers={"Location": f"{scheme}://{host}{path}"}))
    rule = stage.rule(start, fetch=SECRETIVE)

    def judged() -> str:
        if wrong := checks.read(stage, rule):
            return wrong
        first = next(one for one in stage.site.requests if start.endswith(one.path))
        landed = [one for site in (stage.site, stage.secure) for one in site.requests_to(path)]
        if SECRET not in str(first.raw_headers):
            return "the first origin was not given them"
        carried = [one for one in landed if SECRET in str(one.raw_headers) + one.target]
        return "they came along" if carried or not landed else ""

    return judged
