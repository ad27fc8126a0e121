"""What tests of the browser share: the machine's Chromium, a pool on it, pages to look at."""

from __future__ import annotations

from typing import Any

import pytest

from sentinel.fetch.browser import BrowserPool
from sentinel.fetch.browser_program import Program, find_program
from sentinel.fetch.browser_way import way_out
from sentinel.fetch.guard import NetworkPolicy
from tests.support.http import Reply

#: Allowed to reach the loopback address, where the tests' sites are.
PRIVATE = NetworkPolicy(allow_private=True)

#: What a script puts there a moment after the page has loaded.
LATE = """<!DOCTYPE html><html><head><title>Widget</title></head><body><div id="root"></div><script>
setTimeout(() => { document.getElementById('root').innerHTML = '<b class="price">19,99 €</b>'; }, 200);
%s</script></body></html>""" % ("// a bundle\n" * 60)


def the_program(request: pytest.FixtureRequest | None = None) -> Program:
    """Skips the test, saying why, where there is no browser."""
    program = find_program()
    if not program:
        pytest.skip(program.trouble)
    if request is not None:
        request.node.user_properties.append(("server", "chromium"))
    return program


def new_pool(program: Program, **options: Any) -> BrowserPool:
    return BrowserPool(program, way_out(PRIVATE), **options)


def html(body: str, **reply: Any) -> Reply:
    return Reply(body=f"<!DOCTYPE html><html><body>{body}</body></html>", **reply)
