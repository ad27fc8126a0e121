"""What the guard says of a URL before anything is looked up or dialled."""

from __future__ import annotations

from ipaddress import IPv6Network, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.errors import CheckFailure
from sentinel.fetch import addresses
from sentinel.fetch.guard import MAX_URL_LENGTH, NetworkPolicy, Refused, check_url
from tests.sentinel.fetch.world import url_rows

STRICT = NetworkPolicy()
INSIDE = NetworkPolicy(allow_private=True)

ROWS = url_rows()


@pytest.mark.parametrize("url", [url for url, expected in ROWS if expected == "refuse"])
def test_a_hostile_url_is_refused_with_words_for_people(url: str) -> None:
    with pytest.raises(Refused) as caught:
        check_url(url, STRICT)
    assert caught.value.code in ("FETCH_BAD_URL", "FETCH_REFUSED_ADDRESS")
    assert len(caught.value.detail) > 10
    assert caught.value.detail.isprintable()


@pytest.mark.parametrize("url", [url for url, expected in ROWS if expected == "allow"])
def test_an_honest_url_is_let_through(url: str) -> None:
    assert check_url(url, STRICT).scheme in ("http", "https")


def test_every_url_row_says_what_is_expected() -> None:
    assert {expected for _, expected in ROWS} == {"refuse", "allow"}


@pytest.mark.parametrize(
    "url",
    [
        # one address, many spellings
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.0.0.1/",
        "http://0177.0.0.1/",
        "http://127.0.0.1./",
        "http://127.00.0.1/",
        "http://１２７.0.0.1/",
        "http://①②⑦.⓪.⓪.①/",
        "http://８.8.8.8/",
        "http://8.8.8.8./",
        "http://8.8.2056/",
        "http://134744072/",
        "http://1.1.1.1.1/",
        "http://example.com.0x7f/",
        "http://256.1.1.1/",
        # IPv6
        "http://[::]/",
        "http://[0:0:0:0:0:0:0:1]/",
        "http://[::127.0.0.1]/",
        "http://[::ffff:8.8.8.8]/",
        "http://[::ffff:0:127.0.0.1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[64:ff9b:1::1]/",
        "http://[2002:7f00:1::]/",
        "http://[2001::1]/",
        "http://[2001:db8::1]/",
        "http://[3fff::1]/",
        "http://[100::1]/",
        "http://[5f00::1]/",
        "http://[fc00::1]/",
        "http://[fd00:ec2::254]/",
        "http://[fe80::1]/",
        "http://[fe80::1%25eth0]/",
        "http://[::1]%2f/",
        "http://[::1]x/",
        "http://::1/",
        # IPv4 ranges, first and last
        "http://0.255.255.255/",
        "http://10.255.255.255/",
        "http://100.64.0.0/",
        "http://100.127.255.255/",
        "http://169.254.169.254/",
        "http://172.16.0.1/",
        "http://172.31.255.255/",
        "http://192.0.0.192/",
        "http://192.88.99.1/",
        "http://192.168.255.255/",
        "http://198.19.255.255/",
        "http://203.0.113.1/",
        "http://224.0.0.1/",
        "http://255.255.255.255/",
        # names
        "http://localhost/",
        "http://LOCALHOST/",
        "http://localhost./",
        "http://ℓocalhost/",
        "http://intranet/",
        "http://printer.local/",
        "http://a.onion/",
        "http://a.arpa/",
        "http://nas.lan/",
        "http://exa\u00admple.com/",
        "http://exam\u200bple.com/",
        "http://example\ufe0f.com/",
        "http://exa_mple.com/",
        "http://-example.com/",
        "http://example-.com/",
        "http://example..com/",
        "http://.example.com/",
        "http://example.com../",
        f"http://{'a' * 64}.com/",
        f"http://{'a.' * 130}com/",
        "http://xn--a.com/",
        # shapes
        "",
        "example.com",
        "//example.com/",
        "http:/example.com/",
        "http:example.com",
        "http:///example.com/",
        "http://",
        "http://?q",
        "http://:80/",
        "http://@example.com/",
        "http://user@example.com/",
        "http://user:pass@example.com/",
        "http://example.com@127.0.0.1/",
        "http://example.com\\@127.0.0.1/",
        "http://example.com\\.evil.test/",
        "http://127.0.0.1#@example.com/",
        "http://ex%61mple.com/",
        " http://example.com/",
        "http://example.com/ ",
        "http://example.com/a b",
        "http://example.com/\x7f",
        "http://example.com/\x85",
        "http://example.com/\ud800",
        "http://example.com:/",
        "http://example.com:-1/",
        "http://example.com:+80/",
        "http://example.com:080/",
        "http://example.com:８０/",
        "http://example.com:80:80/",
        "http://example.com:99999999999/",
        "ftp://example.com/",
        "gopher://example.com/",
        "javascript:alert(1)",
        "data:text/html,x",
        "ws://example.com/",
        "source:http://example.com/",
        # ports
        "http://example.com:22/",
        "http://example.com:25/",
        "http://example.com:6379/",
        "http://example.com:8000/",
        "https://example.com:2375/",
    ],
)
def test_further_tricks_are_refused(url: str) -> None:
    with pytest.raises(Refused):
        check_url(url, STRICT)


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("HTTP://EXAMPLE.COM", "http://example.com/"),
        ("http://example.com.", "http://example.com/"),
        ("http://example.com:80/a", "http://example.com/a"),
        ("https://example.com:443", "https://example.com/"),
        ("https://example.com:8443/x?y=1", "https://example.com:8443/x?y=1"),
        ("http://example.com?a=1", "http://example.com/?a=1"),
        ("https://bücher.de/ü?q=ä", "https://xn--bcher-kva.de/%C3%BC?q=%C3%A4"),
        ("https://例え。jp/", "https://xn--r8jz45g.jp/"),
        ("http://[2606:4700:4700:0:0:0:0:1111]/", "http://[2606:4700:4700::1111]/"),
        ("https://r3---sn-a.googlevideo.com/", "https://r3---sn-a.googlevideo.com/"),
        ("http://8.8.8.8:8080/", "http://8.8.8.8:8080/"),
        ("http://9.255.255.255/", "http://9.255.255.255/"),
        ("http://223.255.255.255/", "http://223.255.255.255/"),
        ("http://a.de/@b?c@d#e@f", "http://a.de/@b?c@d#e@f"),
    ],
)
def test_a_url_comes_back_in_one_form(written: str, canonical: str) -> None:
    assert check_url(written, STRICT) == canonical


def test_malformed_and_not_allowed_are_told_apart() -> None:
    with pytest.raises(Refused) as malformed:
        check_url("http://exa mple.com/", STRICT)
    with pytest.raises(Refused) as private:
        check_url("http://10.0.0.1/", STRICT)
    assert malformed.value.code == "FETCH_BAD_URL"
    assert private.value.code == "FETCH_REFUSED_ADDRESS"
    assert "SENTINEL_ALLOW_PRIVATE_NETWORKS" in private.value.detail


def test_a_password_in_a_url_is_not_repeated_in_the_refusal() -> None:
    with pytest.raises(Refused) as caught:
        check_url("https://user:hunter2@example.com/", STRICT)
    assert "hunter2" not in str(caught.value)


def test_a_url_has_a_longest_length() -> None:
    base = "https://example.com/"
    check_url(base + "a" * (MAX_URL_LENGTH - len(base)), STRICT)
    with pytest.raises(Refused):
        check_url(base + "a" * (MAX_URL_LENGTH - len(base) + 1), STRICT)


def test_the_operator_may_add_ports_but_not_those_of_services() -> None:
    policy = NetworkPolicy(extra_ports=frozenset({9000, 6379}))
    assert check_url("http://example.com:9000/", policy).port == 9000
    with pytest.raises(Refused):
        check_url("http://example.com:6379/", policy)


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:34567/",
        "http://127.0.0.1:8000/",
        "http://[::1]:8000/",
        "http://10.1.2.3/",
        "http://192.168.0.1:3000/",
        "http://172.16.0.1/",
        "http://[fd12::1]/",
        "http://grafana/",
        "http://wiki.corp/",
        "http://nas.local/",
        "http://example.com/",
    ],
)
def test_where_private_networks_are_allowed_an_intranet_is_reachable(url: str) -> None:
    assert check_url(url, INSIDE) == url


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/",
        "http://168.63.129.16/",
        "http://100.100.100.200/",
        "http://[fd00:ec2::254]/",
        "http://[fe80::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:a9fe:a9fe]/",
        "http://0.0.0.0/",
        "http://224.0.0.1/",
        "http://2130706433/",
        "http://127.1/",
        "http://127.0.0.1:6379/",
        "http://localhost:22/",
        "http://localhost:5432/",
        "http://user@localhost/",
        "file:///etc/passwd",
    ],
)
def test_where_private_networks_are_allowed_metadata_tricks_and_services_are_not(url: str) -> None:
    with pytest.raises(Refused) as caught:
        check_url(url, INSIDE)
    assert "SENTINEL_ALLOW_PRIVATE_NETWORKS" not in caught.value.detail


def test_networks_the_operator_refuses_are_refused() -> None:
    nat64 = IPv6Network("2606:4700::/32")
    with pytest.raises(Refused):
        check_url("http://[2606:4700::1]/", NetworkPolicy(refused_networks=(nat64,)))


@given(st.text(max_size=60), st.sampled_from(["", "http://", "https://", "http://[", "http://127.0."]))
def test_whatever_the_text_the_answer_is_a_url_or_a_refusal(text: str, prefix: str) -> None:
    try:
        url = check_url(prefix + text, STRICT)
    except CheckFailure as refusal:
        assert refusal.code in ("FETCH_BAD_URL", "FETCH_REFUSED_ADDRESS")  # noqa: PT017 - either is right
    else:
        assert url.raw_host
        assert check_url(str(url), STRICT) == url


@given(st.ip_addresses())
def test_an_address_that_is_let_through_is_a_global_one(address: object) -> None:
    parsed = ip_address(str(address))
    if addresses.refusal(parsed, allow_private=False) is None:
        assert parsed.is_global
        assert not parsed.is_multicast


@given(st.ip_addresses())
def test_allowing_private_networks_never_takes_anything_away(address: object) -> None:
    parsed = ip_address(str(address))
    if addresses.refusal(parsed, allow_private=False) is None:
        assert addresses.refusal(parsed, allow_private=True) is None
