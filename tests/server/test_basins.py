"""The basins of a server, over HTTP (store API, sections 3.2 and 4; checklist 1 to 23)."""

from __future__ import annotations

from datetime import UTC, datetime

import httpx
import pytest

from perdure.model.limits import MAX_U64
from tests.server.running import Running

FULL_STREAM_CONFIG: dict[str, object] = {
    "storage_class": "standard",
    "retention_policy": {"infinite": {}},
    "timestamping": {"mode": "arrival", "uncapped": True},
    "delete_on_empty": {"min_age_secs": 60},
}
FULL_CONFIG: dict[str, object] = {
    "default_stream_config": FULL_STREAM_CONFIG,
    "stream_cipher": "aes-256-gcm",
    "create_stream_on_append": True,
    "create_stream_on_read": True,
}
NO_CONFIG: dict[str, object] = {
    "default_stream_config": None,
    "stream_cipher": None,
    "create_stream_on_append": False,
    "create_stream_on_read": False,
}
NAME = "first-basin"
PATH = f"/v1/basins/{NAME}"


async def create(server: Running, name: str = NAME, token: str | None = None, **fields: object) -> httpx.Response:
    headers = {} if token is None else {"s2-request-token": token}
    return await server.http.post("/v1/basins", json={"basin": name, **fields}, headers=headers)


async def config_of(server: Running, name: str = NAME) -> object:
    answer = await server.http.get(f"/v1/basins/{name}")
    assert answer.status_code == 200
    return answer.json()


def assert_error(answer: httpx.Response, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.json()["message"]
    assert answer.headers["content-type"] == "application/json"


async def test_a_basin_needs_only_a_name(server: Running) -> None:
    answer = await create(server)
    info = answer.json()
    assert answer.status_code == 201
    assert answer.headers["s2-provision-result"] == "created"
    age = datetime.now(UTC) - datetime.fromisoformat(info.pop("created_at"))
    assert 0 <= age.total_seconds() < 60
    assert info == {"name": NAME, "location": "local", "deleted_at": None, "state": "active"}
    assert await config_of(server) == NO_CONFIG


async def test_every_part_of_a_configuration_is_kept(server: Running) -> None:
    assert (await create(server, config=FULL_CONFIG)).status_code == 201
    assert await config_of(server) == FULL_CONFIG
    aged = {"default_stream_config": {"retention_policy": {"age": MAX_U64}, "delete_on_empty": {}}}
    assert (await create(server, "second-basin", config=aged)).status_code == 201
    assert await config_of(server, "second-basin") == NO_CONFIG | {
        "default_stream_config": {
            "storage_class": None,
            "retention_policy": {"age": MAX_U64},
            "timestamping": None,
            "delete_on_empty": {"min_age_secs": 0},
        }
    }


@pytest.mark.parametrize("name", ["short", "x" * 49, "Upper-Case", "under_score", "-leading", "trailing-", ""])
async def test_a_bad_name_is_refused(server: Running, name: str) -> None:
    assert_error(await create(server, name), 400, "bad_json")
    if name:
        assert_error(await server.http.get(f"/v1/basins/{name}"), 400, "bad_path")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b'{"basin":1}',
        b'{"basin":null}',
        b'{"basin":"first-basin"} x',
        b'{"basin":"first-basin","location":"no spaces"}',
        b'{"basin":"first-basin","location":""}',
        b'{"basin":"first-basin","config":{"create_stream_on_append":null}}',
        b'{"basin":"first-basin","config":{"create_stream_on_read":"yes"}}',
        b'{"basin":"first-basin","config":{"stream_cipher":"rot13"}}',
        b'{"basin":"first-basin","config":{"default_stream_config":{"storage_class":"slow"}}}',
        b'{"basin":"first-basin","config":{"default_stream_config":{"retention_policy":"infinite"}}}',
        b'{"basin":"first-basin","config":{"default_stream_config":{"retention_policy":{}}}}',
        b'{"basin":"first-basin","config":{"default_stream_config":{"retention_policy":{"infinite":null}}}}',
        b'{"basin":"first-basin","config":{"default_stream_config":{"retention_policy":{"age":1,"infinite":{}}}}}',
        b'{"basin":"first-basin","config":{"default_stream_config":{"retention_policy":{"age":1,"other":2}}}}',
        b'{"basin":"first-basin","config":{"default_stream_config":{"retention_policy":{"age":1.0}}}}',
        b'{"basin":"first-basin","config":{"default_stream_config":{"retention_policy":{"age":-1}}}}',
        b'{"basin":"first-basin","config":{"default_stream_config":{"retention_policy":{"age":18446744073709551616}}}}',
        b'{"basin":"first-basin","config":{"default_stream_config":{"delete_on_empty":{"min_age_secs":null}}}}',
        b'{"basin":"first-basin","config":{"default_stream_config":{"delete_on_empty":{"min_age_secs":-1}}}}',
        b'{"basin":"first-basin","x":' + b"[" * 5000,
        b'{"basin":"\xff\xfe\xff\xfe\xff\xfe\xff\xfe\xff"}',
    ],
)
async def test_a_body_of_the_wrong_shape_is_bad_json(server: Running, body: bytes) -> None:
    answer = await server.http.post("/v1/basins", content=body, headers={"content-type": "application/json"})
    assert_error(answer, 400, "bad_json")
    assert (await server.http.get("/v1/basins")).json()["basins"] == []


async def test_unknown_fields_and_null_options_are_ignored(server: Running) -> None:
    config = {"default_stream_config": {"timestamping": {"mode": None}, "unknown": 1}, "stream_cipher": None}
    assert (await create(server, config=config, location=None, colour="blue")).status_code == 201
    assert await config_of(server) == NO_CONFIG
    assert (await create(server, "second-basin", location="aws:us-east-1")).json()["location"] == "local"


async def test_a_second_create_conflicts(server: Running) -> None:
    await create(server)
    answer = await create(server)
    assert_error(answer, 409, "resource_already_exists")
    assert answer.json()["message"] == f"basin `{NAME}` already exists"
    assert "s2-provision-result" not in answer.headers


async def test_a_request_token_makes_a_create_repeatable(server: Running) -> None:
    config = {"create_stream_on_read": True}
    first = await create(server, token="t" * 36, config=config)
    await server.http.patch(PATH, json={"create_stream_on_read": False})
    again = await create(server, token="t" * 36, config=config | {"default_stream_config": {"timestamping": {}}})
    assert (again.status_code, again.headers["s2-provision-result"]) == (201, "noop")
    assert again.json() == first.json()
    assert_error(await create(server, token="other", config=config), 409, "resource_already_exists")
    assert_error(await create(server, token="t" * 36), 409, "resource_already_exists")


@pytest.mark.parametrize("token", ["t" * 37, "two words", "tab\there"])
async def test_a_bad_request_token_is_told_before_the_body_is_read(server: Running, token: str) -> None:
    answer = await server.http.post("/v1/basins", content=b"nonsense", headers={"s2-request-token": token})
    assert_error(answer, 400, "bad_header")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/basins", {"basin": NAME, "config": {"default_stream_config": {"retention_policy": {"age": 0}}}}),
        ("PUT", PATH, {"config": {"default_stream_config": {"retention_policy": {"age": 0}}}}),
        ("PATCH", PATH, {"default_stream_config": {"retention_policy": {"age": 0}}}),
    ],
)
async def test_records_cannot_be_kept_for_no_time(server: Running, method: str, path: str, body: object) -> None:
    assert_error(await server.http.request(method, path, json=body), 422, "invalid")


async def listed(server: Running, **query: str | int) -> tuple[list[str], bool]:
    answer = await server.http.get("/v1/basins", params=query)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    return [info["name"] for info in body["basins"]], body["has_more"]


async def test_basins_are_listed_in_pages(server: Running) -> None:
    for name in ("aaa-basin", "list-1-a", "list-2-b", "list-3-c", "list-4-d", "zzz-basin"):
        await create(server, name)
    names = ["list-1-a", "list-2-b", "list-3-c", "list-4-d"]
    assert await listed(server, prefix="random-prefix") == ([], False)
    for limit in (0, 1500):
        assert await listed(server, prefix="list-", limit=limit) == (names, False)
    assert await listed(server, prefix="list-", limit=2) == (names[:2], True)
    assert await listed(server, prefix="list-", start_after="list-2-b", limit=2) == (names[2:], False)
    assert await listed(server, prefix="list-", start_after="list-4-d") == ([], False)
    assert await listed(server, prefix="list-", start_after="a") == (names, False)
    assert await listed(server, prefix="", start_after="zzz") == (["zzz-basin"], False)


@pytest.mark.parametrize(
    "query",
    ["limit=-1", "limit=", "limit=x", "limit=1&limit=2", "limit=1.0", "prefix=Upper", "start_after=" + "a" * 49],
)
async def test_a_bad_query_is_refused(server: Running, query: str) -> None:
    assert_error(await server.http.get(f"/v1/basins?{query}"), 400, "bad_query")


async def test_an_unknown_basin_is_not_found(server: Running) -> None:
    assert_error(await server.http.get(PATH), 404, "basin_not_found")
    assert_error(await server.http.patch(PATH, json={}), 404, "basin_not_found")
    assert_error(await server.http.delete(PATH), 404, "basin_not_found")


async def test_a_basin_with_streams_is_deleted(server: Running) -> None:
    await create(server)
    await server.store.create_stream(NAME, "stream")
    answer = await server.http.delete(PATH)
    assert (answer.status_code, answer.content) == (202, b"")
    assert answer.headers["content-length"] == "0"
    assert "content-type" not in answer.headers
    for info in (await server.http.get("/v1/basins")).json()["basins"]:  # gone already, or marked
        assert info["deleted_at"] is not None
        assert info["state"] == "deleting"
    assert (await server.http.delete(PATH)).status_code in (202, 404)


async def test_a_basin_that_goes_is_left_alone(server: Running) -> None:
    await create(server)
    await server.http.delete(PATH)
    answers = [await create(server), await server.http.patch(PATH, json={})]
    for answer in answers:
        # The name may be free again by then.
        assert (answer.status_code, answer.json().get("code")) in (
            (409, "basin_deletion_pending"),
            (404, "basin_not_found"),
            (201, None),
            (200, None),
        )


@pytest.mark.parametrize(
    ("change", "differences"),
    [
        ({}, {}),
        ({"create_stream_on_append": False}, {"create_stream_on_append": False}),
        ({"create_stream_on_read": False}, {"create_stream_on_read": False}),
        ({"stream_cipher": None}, {"stream_cipher": None}),
        ({"stream_cipher": "aegis-256"}, {"stream_cipher": "aegis-256"}),
        ({"default_stream_config": None}, {"default_stream_config": None}),
        ({"default_stream_config": {}}, {}),
        ({"default_stream_config": {"timestamping": {}}}, {}),
        (
            {"default_stream_config": {"storage_class": None}},
            {"default_stream_config": FULL_STREAM_CONFIG | {"storage_class": None}},
        ),
        (
            {"default_stream_config": {"timestamping": {"uncapped": None}}},
            {"default_stream_config": FULL_STREAM_CONFIG | {"timestamping": {"mode": "arrival", "uncapped": None}}},
        ),
        (
            {"default_stream_config": {"timestamping": None, "retention_policy": {"age": 5}}},
            {"default_stream_config": FULL_STREAM_CONFIG | {"timestamping": None, "retention_policy": {"age": 5}}},
        ),
        (
            {"default_stream_config": {"delete_on_empty": {"min_age_secs": None}}},
            {"default_stream_config": FULL_STREAM_CONFIG | {"delete_on_empty": None}},
        ),
    ],
)
async def test_a_patch_changes_what_it_names(
    server: Running, change: dict[str, object], differences: dict[str, object]
) -> None:
    await create(server, config=FULL_CONFIG)
    answer = await server.http.patch(PATH, json=change)
    assert answer.status_code == 200, answer.text
    assert answer.json() == FULL_CONFIG | differences
    assert await config_of(server) == FULL_CONFIG | differences


@pytest.mark.parametrize("field", ["create_stream_on_append", "create_stream_on_read"])
async def test_a_flag_cannot_be_cleared(server: Running, field: str) -> None:
    await create(server)
    assert_error(await server.http.patch(PATH, json={field: None}), 400, "bad_json")


async def test_a_patch_needs_a_body_that_is_json(server: Running) -> None:
    await create(server)
    assert_error(await server.http.patch(PATH), 400, "bad_json")
    assert_error(await server.http.patch(PATH, content=b"{}", headers={"content-type": "text/plain"}), 400, "bad_json")
    assert_error(
        await server.http.patch(PATH, content=b"", headers={"content-type": "application/json"}), 400, "bad_json"
    )
    answer = await server.http.patch(PATH, content=b"{}", headers={"content-type": "application/x+json; charset=utf-8"})
    assert answer.status_code == 200


async def test_ensure_creates_replaces_and_leaves_alone(server: Running) -> None:
    outcomes = []
    for config in (FULL_CONFIG, {"create_stream_on_read": True}, {"create_stream_on_read": True}):
        answer = await server.http.put(PATH, json={"config": config})
        outcomes.append((answer.status_code, answer.headers["s2-provision-result"], answer.json()["created_at"]))
    created_at = outcomes[0][2]
    assert outcomes == [(201, "created", created_at), (200, "updated", created_at), (200, "noop", created_at)]
    assert await config_of(server) == NO_CONFIG | {"create_stream_on_read": True}


async def test_ensure_needs_no_body(server: Running) -> None:
    assert (await server.http.put(PATH)).headers["s2-provision-result"] == "created"
    assert await config_of(server) == NO_CONFIG
    untyped = await server.http.put(PATH, content=b'{"config":{"create_stream_on_read":true}}')
    assert untyped.headers["s2-provision-result"] == "noop"
    for nothing in (b"", b"null", b" null\n"):
        answer = await server.http.put(PATH, content=nothing, headers={"content-type": "application/json"})
        assert answer.headers["s2-provision-result"] == "noop"
    other = await server.http.put(PATH, content=b"{}", headers={"content-type": "text/plain"})
    assert_error(other, 400, "bad_json")


async def test_new_defaults_are_for_new_streams(server: Running) -> None:
    await create(server)
    async with server.in_basin(NAME) as basin:
        await basin.post("/v1/streams", json={"stream": "old"})
        await server.http.patch(PATH, json={"default_stream_config": {"retention_policy": {"age": 60}}})
        await basin.post("/v1/streams", json={"stream": "new"})
        ages = [(await basin.get(f"/v1/streams/{name}")).json()["retention_policy"]["age"] for name in ("old", "new")]
    assert ages == [604_800, 60]
