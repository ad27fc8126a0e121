from __future__ import annotations

import itertools
import threading

import asyncpg
import httpx
import pytest
import redis
import redis.asyncio

from tests.support.http import Reply, Site
from tests.support.servers import OwnServers


def test_each_test_gets_an_empty_database(server_url: str) -> None:
    with redis.Redis.from_url(server_url) as client:
        assert client.dbsize() == 0
        client.set("left", "over")


def test_each_test_gets_an_empty_database_again(server_url: str) -> None:
    with redis.Redis.from_url(server_url) as client:
        assert client.dbsize() == 0
        client.set("left", "over")


def test_a_test_may_kill_its_own_server_and_finds_its_data_again(own_server: OwnServers) -> None:
    server = own_server()
    with redis.Redis.from_url(server.url) as client:
        client.set("kept", "yes")
    server.kill()
    server.wait_until_answering()
    with redis.Redis.from_url(server.url) as client:
        assert client.get("kept") == b"yes"
    assert server.restarts == 1


async def test_the_site_answers_and_remembers_what_was_asked(site: Site) -> None:
    url = site.route("/shop", [Reply(body="one"), Reply(status=503, headers={"Retry-After": "7"})])
    async with httpx.AsyncClient() as client:
        answers = [await client.get(url, params={"q": "a b"}), await client.post(url, content=b"x" * 100_000)]
        answers.append(await client.get(url))
    assert [answer.status_code for answer in answers] == [200, 503, 503]
    assert answers[1].headers["retry-after"] == "7"
    assert site.requests[0].query == {"q": "a b"}
    assert site.requests[1].body == b"x" * 100_000
    assert site.connections == 1


async def test_the_site_can_be_endless_cut_short_and_held_back(site: Site) -> None:
    endless = site.route("/endless", Reply(chunks=itertools.repeat(b"x" * 1000)))
    short = site.route("/short", Reply(body=b"x" * 100, cut_after=10))
    hold = threading.Event()
    held = site.route("/held", Reply(body="at last", hold=hold))
    async with httpx.AsyncClient() as client:
        async with client.stream("GET", endless) as answer:
            async for part in answer.aiter_raw():
                assert part
                break
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(short)
        with pytest.raises(httpx.ReadTimeout):
            await client.get(held, timeout=0.1)
        hold.set()
        assert (await client.get(held)).text == "at last"


def test_the_site_runs_in_a_thread_for_tests_that_are_not_async(thread_site: Site) -> None:
    assert httpx.get(thread_site.url + "/nothing").status_code == 404
    assert len(thread_site.wait_for_requests(1)) == 1


async def test_each_test_gets_an_empty_postgresql_database(postgres_url: str) -> None:
    connection = await asyncpg.connect(postgres_url)
    try:
        assert await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
        await connection.execute("CREATE TABLE left_over (id int)")
    finally:
        await connection.close()


async def test_each_test_gets_an_empty_postgresql_database_again(postgres_url: str) -> None:
    await test_each_test_gets_an_empty_postgresql_database(postgres_url)
