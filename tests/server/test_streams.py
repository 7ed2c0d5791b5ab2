"""The streams of a basin, over HTTP (store API, sections 3.3 to 3.12; checklist 24 to 45)."""

from __future__ import annotations

from urllib.parse import quote

import httpx
import pytest

from perdure.model.batches import AppendInput
from perdure.model.configs import (
    BasinConfig,
    Cipher,
    DeleteOnEmptyConfig,
    RetentionAge,
    StreamConfig,
    TimestampingConfig,
    TimestampingMode,
)
from perdure.model.records import AppendRecord
from tests.server.running import BASIN, Running

DEFAULTS: dict[str, object] = {
    "storage_class": "express",
    "retention_policy": {"age": 604_800},
    "timestamping": {"mode": "client-prefer", "uncapped": False},
    "delete_on_empty": {"min_age_secs": 0},
}
OTHER_BASIN = "other-basin"


def path_of(name: str) -> str:
    return f"/v1/streams/{quote(name, safe='')}"


async def create(basin: httpx.AsyncClient, name: str, token: str | None = None, **fields: object) -> httpx.Response:
    headers = {} if token is None else {"s2-request-token": token}
    return await basin.post("/v1/streams", json={"stream": name, **fields}, headers=headers)


async def config_of(basin: httpx.AsyncClient, name: str) -> object:
    answer = await basin.get(path_of(name))
    assert answer.status_code == 200, answer.text
    return answer.json()


def assert_error(answer: httpx.Response, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.json()["message"]
    assert answer.headers["content-type"] == "application/json"


async def test_a_stream_needs_only_a_name(basin: httpx.AsyncClient) -> None:
    answer = await create(basin, "s")
    assert (answer.status_code, answer.headers["s2-provision-result"]) == (201, "created")
    info = answer.json()
    assert info.pop("created_at").endswith("Z")
    assert info == {"name": "s", "deleted_at": None, "cipher": None}
    assert await config_of(basin, "s") == DEFAULTS


async def test_a_stream_inherits_each_setting_by_itself(server: Running) -> None:
    layer = StreamConfig(
        retention_policy=RetentionAge(60),
        timestamping=TimestampingConfig(TimestampingMode.ARRIVAL, True),
        delete_on_empty=DeleteOnEmptyConfig(30),
    )
    await server.store.create_basin(OTHER_BASIN, BasinConfig(layer, Cipher.AEGIS_256))
    async with server.in_basin(OTHER_BASIN) as basin:
        own = {"timestamping": {"uncapped": False}, "delete_on_empty": {"min_age_secs": 0}}
        assert (await create(basin, "s", config=own)).json()["cipher"] == "aegis-256"
        assert await config_of(basin, "s") == DEFAULTS | {
            "retention_policy": {"age": 60},
            "timestamping": {"mode": "arrival", "uncapped": False},
        }
        await server.http.patch(f"/v1/basins/{OTHER_BASIN}", json={"stream_cipher": None})
        await create(basin, "t")
        infos = (await basin.get("/v1/streams")).json()["streams"]
        assert [(info["name"], info["cipher"]) for info in infos] == [("s", "aegis-256"), ("t", None)]
        tail = await basin.get(f"{path_of('s')}/records/tail")  # needs no key
        assert (tail.status_code, tail.json()) == (200, {"tail": {"seq_num": 0, "timestamp": 0}})


@pytest.mark.parametrize(
    "name", ["a/b", "/", "with space", "+", "🦊/%2F", "%", "?", "#", "a?b#c&d=e", "\n", "é" * 256, "...", "records"]
)
async def test_a_name_may_hold_anything(basin: httpx.AsyncClient, name: str) -> None:
    assert (await create(basin, name)).json()["name"] == name
    assert await config_of(basin, name) == DEFAULTS
    assert (await basin.put(path_of(name))).headers["s2-provision-result"] == "noop"
    assert (await basin.patch(path_of(name), json={})).json() == DEFAULTS
    assert (await basin.get(f"{path_of(name)}/records/tail")).status_code == 200
    assert [info["name"] for info in (await basin.get("/v1/streams")).json()["streams"]] == [name]
    assert (await basin.delete(path_of(name))).status_code == 202


@pytest.mark.parametrize("name", ["", ".", "..", "x" * 513, "語" * 171])
async def test_a_bad_name_is_refused(basin: httpx.AsyncClient, name: str) -> None:
    assert_error(await create(basin, name), 400, "bad_json")


@pytest.mark.parametrize("segment", ["%2E", "%2e%2E", "x" * 513, "%FF", quote("語" * 171)])
async def test_a_bad_name_in_the_path_is_refused(basin: httpx.AsyncClient, segment: str) -> None:
    assert_error(await basin.get(f"/v1/streams/{segment}"), 400, "bad_path")


async def test_the_longest_name_is_allowed(basin: httpx.AsyncClient) -> None:
    assert (await create(basin, "x" * 512)).status_code == 201


async def test_a_slash_that_is_not_encoded_is_no_part_of_a_name(basin: httpx.AsyncClient) -> None:
    answer = await basin.get("/v1/streams/a/b")
    assert (answer.status_code, answer.content) == (404, b"")


async def test_a_second_create_conflicts(basin: httpx.AsyncClient) -> None:
    await create(basin, "s")
    answer = await create(basin, "s")
    assert_error(answer, 409, "resource_already_exists")
    assert answer.json()["message"] == f"stream `s` in basin `{BASIN}` already exists"


async def test_a_request_token_survives_a_change_of_the_defaults(server: Running, basin: httpx.AsyncClient) -> None:
    first = await create(basin, "s", "token")
    await server.http.patch(f"/v1/basins/{BASIN}", json={"default_stream_config": {"storage_class": "standard"}})
    again = await create(basin, "s", "token")
    assert (again.status_code, again.headers["s2-provision-result"]) == (201, "noop")
    assert again.json() == first.json()
    assert_error(
        await create(basin, "s", "token", config={"storage_class": "standard"}), 409, "resource_already_exists"
    )


async def test_streams_are_listed_in_pages(basin: httpx.AsyncClient) -> None:
    names = ["p/1", "p/2", "p/3", "p/é"]
    for name in ("a", *names, "z"):
        await create(basin, name)

    async def listed(**query: str | int) -> tuple[list[str], bool]:
        body = (await basin.get("/v1/streams", params=query)).json()
        assert all(info["deleted_at"] is None and "cipher" in info for info in body["streams"])
        return [info["name"] for info in body["streams"]], body["has_more"]

    for limit in (0, 1000, 1001, 2**40):
        assert await listed(prefix="p/", limit=limit) == (names, False)
    assert await listed(prefix="p/", limit=4) == (names, False)
    assert await listed(prefix="p/", limit=2) == (names[:2], True)
    assert await listed(prefix="p/", start_after="p/2", limit=2) == (names[2:], False)
    assert await listed(prefix="p/", start_after="p/é") == ([], False)
    assert await listed(prefix="..") == ([], False)
    assert_error(await basin.get("/v1/streams", params={"limit": -1}), 400, "bad_query")
    assert_error(await basin.get("/v1/streams", params={"prefix": "x" * 513}), 400, "bad_query")
    assert_error(await basin.get("/v1/streams?prefix=%FF"), 400, "bad_query")


async def test_an_unknown_basin_has_no_streams(server: Running) -> None:
    async with server.in_basin("nobody-has-it") as basin:
        answer = await basin.get("/v1/streams")
        assert (answer.status_code, answer.json()) == (200, {"streams": [], "has_more": False})
        assert_error(await create(basin, "s"), 404, "basin_not_found")
        assert_error(await basin.put(path_of("s")), 404, "basin_not_found")
        assert_error(await basin.patch(path_of("s"), json={}), 404, "basin_not_found")
        assert_error(await basin.get(path_of("s")), 404, "stream_not_found")
        assert_error(await basin.delete(path_of("s")), 404, "stream_not_found")
        assert_error(await basin.get(f"{path_of('s')}/records/tail"), 404, "basin_not_found")


async def test_an_unknown_stream_is_not_found(basin: httpx.AsyncClient) -> None:
    assert_error(await basin.get(path_of("s")), 404, "stream_not_found")
    assert_error(await basin.patch(path_of("s"), json={}), 404, "stream_not_found")
    assert_error(await basin.delete(path_of("s")), 404, "stream_not_found")
    assert_error(await basin.get(f"{path_of('s')}/records/tail"), 404, "stream_not_found")


async def test_a_deleted_stream_cannot_be_used(server: Running, basin: httpx.AsyncClient) -> None:
    first = (await create(basin, "s")).json()
    await server.store.append(BASIN, "s", AppendInput((AppendRecord(b"x"),)))
    answer = await basin.delete(path_of("s"))
    assert (answer.status_code, answer.content) == (202, b"")
    assert (await basin.delete(path_of("s"))).status_code in (202, 404)
    for info in (await basin.get("/v1/streams")).json()["streams"]:
        assert info["deleted_at"] is not None
    for call in (
        basin.get(path_of("s")),
        basin.get(f"{path_of('s')}/records/tail"),
        basin.patch(path_of("s"), json={}),
    ):
        answer = await call
        # The removal in the background may be quicker than the question.
        assert (answer.status_code, answer.json()["code"]) in (
            (409, "stream_deletion_pending"),
            (404, "stream_not_found"),
        )
    while (again := await create(basin, "s")).status_code != 201:
        assert_error(again, 409, "stream_deletion_pending")
    assert again.json()["created_at"] > first["created_at"]
    assert (await basin.get(f"{path_of('s')}/records/tail")).json() == {"tail": {"seq_num": 0, "timestamp": 0}}


@pytest.mark.parametrize(
    ("change", "differences"),
    [
        ({}, {}),
        ({"storage_class": "standard"}, {"storage_class": "standard"}),
        ({"retention_policy": {"infinite": {}}}, {"retention_policy": {"infinite": {}}}),
        ({"retention_policy": {"age": 1}}, {"retention_policy": {"age": 1}}),
        (
            {"timestamping": {"mode": "client-require"}},
            {"timestamping": {"mode": "client-require", "uncapped": False}},
        ),
        ({"timestamping": {"mode": "arrival"}}, {"timestamping": {"mode": "arrival", "uncapped": False}}),
        ({"timestamping": {"uncapped": True}}, {"timestamping": {"mode": "client-prefer", "uncapped": True}}),
        ({"delete_on_empty": {"min_age_secs": 9}}, {"delete_on_empty": {"min_age_secs": 9}}),
        ({"delete_on_empty": {"min_age_secs": None}}, {}),
        ({"timestamping": None, "delete_on_empty": None, "storage_class": None}, {}),
    ],
)
async def test_a_patch_changes_what_it_names(
    basin: httpx.AsyncClient, change: dict[str, object], differences: dict[str, object]
) -> None:
    await create(basin, "s")
    answer = await basin.patch(path_of("s"), json=change)
    assert (answer.status_code, answer.json()) == (200, DEFAULTS | differences)
    assert await config_of(basin, "s") == DEFAULTS | differences


async def test_what_a_patch_clears_falls_back_to_the_basins_default(server: Running, basin: httpx.AsyncClient) -> None:
    await create(basin, "s", config={"retention_policy": {"age": 5}})
    await server.http.patch(f"/v1/basins/{BASIN}", json={"default_stream_config": {"retention_policy": {"age": 77}}})
    answer = await basin.patch(path_of("s"), json={"retention_policy": None})
    assert answer.json() == DEFAULTS | {"retention_policy": {"age": 77}}


async def test_a_bad_change_is_told_before_the_stream_is_looked_up(basin: httpx.AsyncClient) -> None:
    assert_error(await basin.patch(path_of("s"), json={"retention_policy": {"age": 0}}), 422, "invalid")
    assert_error(await basin.put(path_of("s"), json={"retention_policy": {"age": 0}}), 422, "invalid")
    assert_error(await basin.patch(path_of("s"), json={"storage_class": "slow"}), 400, "bad_json")
    assert_error(await basin.patch(path_of("s"), json={"delete_on_empty": {"min_age_secs": 2**64}}), 400, "bad_json")


async def test_ensure_creates_replaces_and_leaves_alone(basin: httpx.AsyncClient) -> None:
    async def ensure(config: object) -> tuple[int, str]:
        answer = await basin.put(path_of("s"), json=config)
        return answer.status_code, answer.headers["s2-provision-result"]

    assert await ensure({"storage_class": "standard"}) == (201, "created")
    assert await ensure(await config_of(basin, "s")) == (200, "noop")
    assert await ensure({"timestamping": {"mode": "arrival"}}) == (200, "updated")
    assert await config_of(basin, "s") == DEFAULTS | {"timestamping": {"mode": "arrival", "uncapped": False}}
    assert (await basin.put(path_of("s"))).headers["s2-provision-result"] == "updated"
    assert await config_of(basin, "s") == DEFAULTS
    null = await basin.put(path_of("s"), content=b"null", headers={"content-type": "application/json"})
    assert null.headers["s2-provision-result"] == "noop"


async def test_the_tail_is_the_position_after_the_last_record(server: Running, basin: httpx.AsyncClient) -> None:
    await create(basin, "s")
    assert (await basin.get(f"{path_of('s')}/records/tail")).json() == {"tail": {"seq_num": 0, "timestamp": 0}}
    ack = await server.store.append(BASIN, "s", AppendInput(tuple(AppendRecord(b"x") for _ in range(3))))
    answer = await basin.get(f"{path_of('s')}/records/tail")
    assert answer.json() == {"tail": {"seq_num": 3, "timestamp": ack.end.timestamp}}


async def test_a_stream_is_created_when_it_is_appended_to(server: Running, basin: httpx.AsyncClient) -> None:
    records = {"records": [{"body": "x"}]}
    assert_error(await basin.post(f"{path_of('s')}/records", json=records), 404, "stream_not_found")
    await server.http.patch(
        f"/v1/basins/{BASIN}",
        json={"create_stream_on_append": True, "default_stream_config": {"storage_class": "standard"}},
    )
    assert_error(await basin.get(f"{path_of('s')}/records?seq_num=0"), 404, "stream_not_found")
    assert_error(await basin.post(f"{path_of('s')}/records", json={"records": []}), 422, "invalid")
    assert_error(await basin.get(path_of("s")), 404, "stream_not_found")
    assert (await basin.post(f"{path_of('s')}/records", json=records)).status_code == 200
    assert await config_of(basin, "s") == DEFAULTS | {"storage_class": "standard"}


async def test_a_stream_is_created_when_it_is_read(server: Running, basin: httpx.AsyncClient) -> None:
    await server.http.patch(f"/v1/basins/{BASIN}", json={"create_stream_on_read": True})
    tail = {"tail": {"seq_num": 0, "timestamp": 0}}
    assert (await basin.get(f"{path_of('s')}/records/tail")).json() == tail
    answer = await basin.get(f"{path_of('t')}/records?seq_num=0")
    assert (answer.status_code, answer.json()) == (416, tail)
    names = [info["name"] for info in (await basin.get("/v1/streams")).json()["streams"]]
    assert names == ["s", "t"]


async def test_a_request_must_name_its_basin(server: Running) -> None:
    answer = await server.http.get("/v1/streams")
    assert_error(answer, 400, "bad_header")
    assert answer.json()["message"] == "Missing header `s2-basin`"
    answer = await server.http.get("/v1/streams", headers={"s2-basin": "Bad"})
    assert_error(answer, 400, "bad_header")
    assert answer.json()["message"].startswith("Invalid header `s2-basin`: ")
    # A header is looked at before the path, and that before the query.
    assert_error(await server.http.get("/v1/streams/%FF"), 400, "bad_header")


async def test_the_host_may_name_the_basin(server: Running, basin: httpx.AsyncClient) -> None:
    await create(basin, "s")
    for host in (f"{BASIN}.b.localhost:{server.port}", f"{BASIN}.B.Localhost", f"{BASIN}.b.localhost."):
        answer = await server.http.get("/v1/streams", headers={"host": host})
        assert [info["name"] for info in answer.json()["streams"]] == ["s"], host
    for host in (f"[::1]:{server.port}", "b.localhost", f"{BASIN}.c.localhost", f"x.{BASIN}.b.localhost"):
        assert_error(await server.http.get("/v1/streams", headers={"host": host}), 400, "bad_header")
    differing = {"host": f"{BASIN}.b.localhost", "s2-basin": OTHER_BASIN}
    assert_error(await server.http.get("/v1/streams", headers=differing), 400, "bad_header")
    # What is about the account does not care.
    assert (await server.http.get("/v1/basins", headers={"host": "x.b.localhost"})).status_code == 200
