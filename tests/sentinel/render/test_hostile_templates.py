"""Templates that ask for everything, each in the limited child: words or a note, and the worker goes on.

The costs: python -m pytest -s tests/sentinel/render/test_hostile_templates.py
"""

from __future__ import annotations

import resource
import time

import pytest

from sentinel.model import Channel, ChannelTemplate
from sentinel.render.contained import MEMORY, Templates, open_templates, troubles
from sentinel.render.samples import sample

HOSTILE = {
 "loop":"{% for i in range(100000) %}x{% endfor %}",
 "nested loops":"{% for i in range(9999) %}{% for j in range(9999) %}{{ i*j }}{% endfor %}{% endfor %}",
 "string multiply":"{{ 'x' * 1000000000 }}",
 "doubling":"{% set a='x'*1000 %}"+"{% set a=a~a %}"*40+"{{a|length}}",
    "doubling ns": "{% set a0='x' %}" + "".join(f"{{% set a{i + 1} = a{i}~a{i} %}}" for i in range(40)) + "x",
 "filters":"{{ title"+"|replace('e','eeeeeeeeee')"*12+" }}",
 "deep nesting":"{{ "+"("*5000+"1"+")"*5000+" }}",
 "deep lists":"{{ "+"["*3000+"1"+"]"*3000+" }}",
 "deep ifs":"{% if 1 %}"*2000+"{% endif %}"*2000,
 "macro recursion":"{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}",
 "sort big":"{{ (range(100000)|list|sort|reverse|list)|length }}",
 "join":"{{ range(100000)|join('xxxxxxxxxxxxxxxxxxxx')|length }}",
 "batch":"{{ range(100000)|batch(1)|list|length }}",
 "indent":"{{ ('x\\n'*5000)|indent(10000)|length }}",
 "center":"{{ '%1000000000s'|format('x') }}",
 "split":"{{ ('x '*100000)|split(' ')|length }}",
 "power":"{{ 9**9**9 }}",
 "slices":"{% for i in range(2000) %}{{ ('x'*4000)[::-1]|length }}{% endfor %}",
 "urlencode":"{{ ('é'*5000)|urlencode|urlencode|urlencode|urlencode|urlencode|urlencode|length }}",
 "tojson":"{{ range(10000)|list|tojson|tojson|tojson|length }}",
 "groupby":"{{ range(20000)|map('string')|unique|list|length }}",
 "list product":"{% set l=range(9999)|list %}{% for x in l %}{{ (l|sort)|length }}{% endfor %}",
 "list in list":"{% set l=range(9999)|list %}{% for x in l %}{{ -1 in l }}{% endfor %}",
 "str in str":"{% set s='ab'*8000 %}{% for x in range(9999) %}{{ 'ac' in s }}{% endfor %}",
 "str compare":"{% set s='ab'*8000 %}{% for x in range(9999) %}{{ s == s~'' }}{% endfor %}",
 "list compare":"{% set l=range(9999)|list %}{% set m=range(9999)|list %}{% for x in range(9999) %}{{ l == m }}{% endfor %}",
 "nested list compare":"{% set a=[1,1] %}"+"{% set a=[a,a] %}"*30+"{{ a == a }}",
 "nested list print":"{% set a=[1,1] %}"+"{% set a=[a,a] %}"*30+"{{ a|tojson|length }}",
 "nested list sort":"{% set a=[1,1] %}"+"{% set a=[a,a] %}"*30+"{{ [a,a,a]|unique|list|length }}",
 "nested list sum":"{% set a=[1,1] %}"+"{% set a=[a,a] %}"*30+"{{ a|string|length }}",
 "nested hash":"{% set a=[1,1] %}"+"{% set a=[a,a] %}"*28+"{{ {a:1}|length }}",
 "replace empty":"{{ ('x'*5000)|replace('','yyyyyyyyyy')|replace('','zzzzzzzzzz')|length }}",
 "slice filter":"{{ range(3)|slice(100000000)|list|length }}",
 "batch fill":"{{ [1]|batch(100000000,'x')|list|length }}",
 "range huge":"{{ range(10**15)|length }}",
 "round":"{{ 1.5|round(1000000) }}", "int parse":"{{ ('9'*15000)|int }}",
 "max source":"{{ title }}"*2000,
 "sort attr":"{{ (range(9000)|list)|sort(attribute='a.b.c.d')|length }}",
 "chain":"{{ title"+"|upper|lower"*4000+" }}",
 "long concat":"{{ "+"~".join(["title"]*4000)+" }}",
 "long and":"{{ "+" and ".join(["title"]*4000)+" }}",
 "not not":"{{ "+"not "*4000+"1 }}", "minus":"{{ "+"-"*4000+"1 }}",
}  # fmt: skip

#: Three lists that hold themselves many times over: printed, each is gigabytes.
HUGE = ("nested list print", "nested list sum", "nested list compare")


async def told(templates: Templates, body: str) -> str:
    """What came of a template: its words, or the note."""
    channel = Channel(id="ops", type="console", template=ChannelTemplate(body=body))
    alert = await templates.words(channel, sample("price"))
    assert bool(alert.words) != bool(alert.note) or alert == sample("price")
    return alert.words or alert.note


async def test_whatever_a_template_asks_for_the_next_one_is_rendered() -> None:
    worst = 0.0
    async with open_templates() as templates:
        for name, body in HOSTILE.items():
            began = time.perf_counter()
            await told(templates, body)
            worst = max(worst, time.perf_counter() - began)
            if name in HUGE:
                assert await told(templates, "{{ rule }}") == "Widget at Example"
        assert await told(templates, "{{ rule }}") == "Widget at Example"
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(
        f"\n{len(HOSTILE)} hostile templates: the slowest {worst:.2f} s with the start of a child, "
        f"the largest child {children:.0f} MiB in all ({MEMORY >> 20} MiB beyond its start are allowed)"
    )


async def test_one_that_printed_would_be_gigabytes_ends_its_child_and_says_so() -> None:
    async with open_templates() as templates:
        assert "takes too long, or makes too much" in await told(templates, HOSTILE["nested list print"])


def test_it_is_refused_before_it_is_needed_with_the_part_that_asks_for_too_much() -> None:
    template = ChannelTemplate(title="{{ rule }}", body=HOSTILE["nested list print"])

    assert list(troubles(template)) == ["body"]
    assert troubles(ChannelTemplate(title="{{ rule }}", body="{{ link }}")) == {}


async def test_a_child_that_does_not_start_is_told_as_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sentinel.render.contained._PROGRAM", "raise SystemExit(1)")
    async with open_templates() as templates:
        assert "does not start" in await told(templates, "{{ rule }}")


async def test_a_channel_without_a_template_starts_no_child() -> None:
    async with open_templates() as templates:
        plain = Channel(id="ops", type="console")

        assert await templates.words(plain, sample("price")) == sample("price")
        assert templates._child is None
