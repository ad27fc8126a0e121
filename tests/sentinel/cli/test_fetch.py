from __future__ import annotations

from pathlib import Path

import pytest

from sentinel.cli.exits import Exit
from tests.sentinel.cli.conftest import Run
from tests.support.http import Reply, Site

ALLOWED = {"SENTINEL_ALLOW_PRIVATE_NETWORKS": "true"}


def test_the_json_line_is_the_contract_s(run: Run, thread_site: Site) -> None:
    url = thread_site.route("/shop", Reply(body="<p>19.99 of a kind</p>"))

    result = run("fetch", url, "--json", env=ALLOWED)

    (line,) = result.lines
    timings = line.pop("timings")
    assert line == {
        "schema": "sentinel.fetch/1",
        "url": url,
        "allowed": True,
        "error_code": None,
        "detail": None,
        "status": 200,
        "final_url": url,
        "mode": "http",
        "fallback_reason": None,
        "blocked": None,
        "bytes": line["bytes"],
    }
    assert line["bytes"] > 0
    assert timings["total"] > 0
    assert result.code == Exit.DONE


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://127.0.0.1:{port}/", "FETCH_REFUSED_ADDRESS"),
        ("http://169.254.169.254/latest", "FETCH_REFUSED_ADDRESS"),
        ("file:///etc/passwd", "FETCH_BAD_URL"),
        ("not a url", "FETCH_BAD_URL"),
    ],
)
def test_what_the_guard_refuses_is_not_dialled(run: Run, thread_site: Site, url: str, code: str) -> None:
    result = run("fetch", url.format(port=thread_site.port), "--json")

    (line,) = result.lines
    assert (line["allowed"], line["error_code"], line["status"]) == (False, code, None)
    assert line["detail"]
    assert result.code == Exit.FAILED
    assert thread_site.connections == 0


def test_urls_come_from_stdin_and_results_in_their_order(run: Run, thread_site: Site) -> None:
    urls = [thread_site.route(f"/{n}", Reply(body=f"<p>page number {n}</p>")) for n in range(25)]
    urls[7] = f"{thread_site.url}/missing"

    result = run("fetch", "-", "--json", stdin="\n".join(urls) + "\n\n", env=ALLOWED)

    assert [line["url"] for line in result.lines] == urls
    assert [line["error_code"] for line in result.lines if line["error_code"]] == ["FETCH_HTTP_4XX"]
    assert result.lines[7]["status"] == 404
    assert result.lines[7]["allowed"] is True
    assert result.code == Exit.FAILED


def test_the_body_is_written_where_asked(run: Run, thread_site: Site, tmp_path: Path) -> None:
    url = thread_site.route("/shop", Reply(body="<p>19.99 of a kind</p>"))
    file = tmp_path / "page.html"

    result = run("fetch", url, "--body", str(file), env=ALLOWED)

    assert file.read_text() == "<p>19.99 of a kind</p>"
    assert "200" in result.out
    assert run("fetch", url, url, "--body", str(file)).code == Exit.USAGE
    assert run("fetch", url, "--body", str(tmp_path), env=ALLOWED).code == Exit.FAILED


def test_people_read_why_a_url_was_refused(run: Run) -> None:
    result = run("fetch", "http://10.0.0.1/")

    assert "FETCH_REFUSED_ADDRESS" in result.out
    assert "nothing was dialled" in result.out
