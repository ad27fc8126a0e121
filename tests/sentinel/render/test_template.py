"""Words of a channel's own, on fuel."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.model import Channel, ChannelTemplate, Document
from sentinel.render import contained, document, to_json, to_slack
from sentinel.render.email_html import to_html
from sentinel.render.samples import SAMPLES, SampleKind, sample
from sentinel.render.template import MAX_BODY, TemplateFailed, _rendered, render, trouble


def made(body: str, alert: Document | None = None) -> str:
    return render(ChannelTemplate(body=body), alert or sample("price"))[1]


def failure(body: str, alert: Document | None = None) -> str:
    with pytest.raises(TemplateFailed) as caught:
        made(body, alert)
    return str(caught.value)


def with_template(one: Channel, alert: Document) -> Document:
    """As the child does it, in this process."""
    question = msgspec.msgpack.encode(contained._Question(one.template, alert))
    return contained._applied(alert, contained._answer(question))


def channel(**template: Any) -> Channel:
    return Channel(id="ops", type="webhook", url="https://example.com", template=ChannelTemplate(**template))


# --- what it can say --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (
            "{{ rule }} ({{ severity }}) {{ link }}",
            "Widget at Example (warning) https://shop.example.com/widget",
        ),
        (
            "{{ fields[0].before }} to {{ fields[0].after }}, {{ percent }}",
            "149.99 EUR to 129.99 EUR, -13.3 %",
        ),
        ("{% if health %}{{ health.code }}{% else %}{{ change }}{% endif %}", "decreased"),
        ("{% for one in conditions %}{{ one.id }}={{ one.severity }}{% endfor %}", "moved=warning"),
        ("{{ alert }} {{ workspace }} {{ time }} {{ kind }}", "7 acme 2026-01-01T00:05:00.000Z change"),
        ("{{ title|upper|truncate(length=9) }}", "WIDGET..."),
        ("a\n{# not told #}\n<b>{{ '<' }}", "a\n\n<b><"),
    ],
)
def test_a_template_says_what_it_likes_of_the_neutral_document(source: str, words: str) -> None:
    assert made(source) == words


def test_it_takes_the_place_of_title_and_body_and_either_may_be_left_out() -> None:
    alert = with_template(channel(title="{{ rule }}!\n", body="Now {{ fields[0].after }}"), sample("price"))
    assert (alert.title, alert.words, alert.note) == ("Widget at Example!", "Now 129.99 EUR", "")

    assert with_template(channel(title="x"), sample("price")).words == ""
    assert with_template(channel(body="x"), sample("price")).title == sample("price").title


def test_every_name_is_there_for_every_kind_of_alert() -> None:
    names = "title summary severity kind rule link alert workspace time change percent fields conditions health members more"
    source = "".join(f"{{{{ {name} }}}}" for name in names.split())

    assert trouble(ChannelTemplate(title="x" + source, body="x" + source)) == {}


# --- what it cannot do ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source",
    [
        "{{ title.__class__ }}", "{{ fields.append(1) }}", "{{ fields[0].clear() }}", "{{ ''.format }}", "{{ debug() }}",
        "{% set n = namespace(x=1) %}{% set n.x = n %}{{ n }}", "{% include '/etc/passwd' %}", "{% import 'x' as x %}",
        "{% extends 'x' %}", "{{ self.x() }}", "{{ nope }}", "{{ fields[9].name }}", "{{ health.code }}", "{{ 1/0 }}",
        "{{ cycler }}", "{{ joiner }}", "{{ dict }}", "{{ environ }}", "{{ os }}", "{{ document }}",
    ],
)  # fmt: skip
def test_nothing_else_can_be_reached(source: str) -> None:
    assert failure(source)


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{% set x = 'abcdefgh' %}" + "{% set x = x ~ x %}" * 60 + "{{ x|length }}",
        "{{ 'x' * 10000000000 }}",
        "{{ range(99999)|list * 99999 }}",
        "{{ '%1000000000d'|format(1) }}",
        "{{ 'a'|indent(2000000000) }}",
        "{{ ('a' * 90000)|replace('', 'b' * 90000)|length }}",
        "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}",
        "{{ [1, 2, 3]|slice(1000000000)|list }}",
        "{% for i in range(9999) %}{{ title * 99 }}{% endfor %}",
    ],
)
def test_what_loops_or_swells_runs_out_of_fuel(source: str) -> None:
    assert "takes too long, or makes too much" in failure(source) or "recursion" in failure(source)


def test_what_is_too_long_is_a_failure() -> None:
    assert str(MAX_BODY) in failure("{{ 'x' * 20000 }}")


def test_where_nothing_comes_out_the_usual_words_stand() -> None:
    only_digests = channel(
        title="{{ '' }}", body="{% for member in members %}{{ member.title }}{% endfor %} "
    )

    assert with_template(only_digests, sample("price")) == sample("price")
    assert with_template(only_digests, sample("digest")).words.startswith("Widget at Example: ")


def test_a_failure_says_where() -> None:
    assert failure("fine\n{{ nope }}") == "line 2: `nope` is undefined"
    assert failure("fine\n\n{% if %}").startswith("line 3: ")


# --- when it fails ----------------------------------------------------------------------------------


def test_what_fails_on_some_kind_of_alert_is_told_before_it_is_needed() -> None:
    found = trouble(ChannelTemplate(title="{{ health.code }}", body="{{ title }}"))

    assert list(found) == ["title"]
    assert "tried on an alert of the kind price" in found["title"]


def test_no_alert_is_lost_to_a_template() -> None:
    long = msgspec.structs.replace(sample("price"), title="x" * 300)

    told = with_template(channel(body="{{ title * 60 }}"), long)

    assert (told.title, told.words, told.fields) == (long.title, "", long.fields)
    assert told.note.startswith(
        "This is the usual form: the channel's template failed: it made 18000 characters"
    )
    assert json.loads(to_json(told))["data"]["note"] == told.note
    assert "template failed" in to_html(told)
    assert "template failed" in json.dumps(to_slack(told))


@settings(deadline=None)
@given(st.text(max_size=200))
def test_no_text_of_a_page_is_a_template(text: str) -> None:
    hostile = text + "{{ 1+1 }}{% raw %}{% endset %}'\"\\\u2028" + text
    alert = document(
        alert_id="7", workspace_id="acme", rule_id="r", kind="change", severity="info", title=hostile,
        body={"rule": hostile, "fields": [{"name": hostile, "before": hostile, "after": {"text": hostile}}]}, occurred_at=0.0,
    )  # fmt: skip

    assert (
        render(ChannelTemplate(body="{{ title }}|{{ rule }}"), alert)[1]
        == f"{alert.title}|{alert.rule}".strip()
    )


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=9,
)


@settings(deadline=None)
@given(_JSON)
def test_a_literal_is_the_value(value: Any) -> None:
    assert json.loads(_rendered("{{ x|tojson }}", {"x": [value]})) == [value]


@pytest.mark.parametrize("kind", SAMPLES)
def test_words_of_a_template_cannot_break_out_of_a_message(kind: SampleKind) -> None:
    breaking = '</div><script>alert(1)</script> <!channel> <https://evil.example|x> ", "x": 1 {{ title }}'

    alert = with_template(channel(title=breaking, body=breaking), sample(kind))

    assert alert.note == ""
    assert "<script" not in to_html(alert)
    assert json.loads(to_json(alert))["data"]["text"].startswith("</div>")
    assert "<!channel>" not in to_slack(alert)["text"]
