"""Tokens stay what they are, and those that expired long ago do not pile up."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from perdure.model.access_tokens import (
    AccessTokenInfo,
    AccessTokenScope,
    ExactMatch,
    Operation,
    OperationGroupPermissions,
    Permission,
    PrefixMatch,
)
from perdure.store.service import StreamStore
from perdure.store.sqlite import SqliteEngine
from tests.store.clock import Clock

IDS = {
    "that count up": lambda number: f"token-{number:09}",
    "that are random": lambda number: f"{number * 2_654_435_761 % 2**32:08x}",
}


@pytest.mark.parametrize("ids", IDS)
async def test_expired_tokens_are_forgotten_while_others_are_issued(tmp_path: Path, ids: str) -> None:
    clock = Clock()
    engine = await SqliteEngine.open(tmp_path / "data", now_ms=clock.now_ms)
    try:
        store = StreamStore(engine)
        scope = AccessTokenScope(ops=(Operation.READ,))
        await store.issue_access_token(AccessTokenInfo("~for-ever", scope))
        for number in range(300):
            clock.advance(3600 * 1000)
            now = datetime.fromtimestamp(clock.now_ms() / 1000, UTC)
            await store.issue_access_token(AccessTokenInfo(IDS[ids](number), scope, now + timedelta(minutes=10)))
        page = await store.list_access_tokens()
        # Every one of the last day is there, and not many times as many.
        assert {IDS[ids](number) for number in range(276, 300)} | {"~for-ever"} <= {token.id for token in page.items}
        assert len(page.items) < 100
    finally:
        await engine.aclose()


KEPT = (
    b'{"id":"t","scope":{"basins":{"type":"exact","name":"my-basin"},"streams":{"type":"prefix","prefix":"p/"},'
    b'"access_tokens":null,"op_groups":{"account":{"read":false,"write":false},"basin":{"read":true,"write":false},'
    b'"stream":{"read":true,"write":true}},"ops":["trim"]},"expires_at":"2099-05-01T10:00:00Z",'
    b'"auto_prefix_streams":true}'
)


def test_what_is_on_disk_keeps_its_meaning() -> None:
    """Rows have no format number of their own: classes may be called anything, but these words stay."""
    info = AccessTokenInfo(
        "t",
        AccessTokenScope(
            ExactMatch("my-basin"),
            PrefixMatch("p/"),
            op_groups=OperationGroupPermissions(basin=Permission.READ, stream=Permission.READ_WRITE),
            ops=[Operation.TRIM],
        ),
        datetime(2099, 5, 1, 10, tzinfo=UTC),
        True,
    )
    assert msgspec.json.decode(KEPT, type=AccessTokenInfo) == info
    assert msgspec.json.encode(info) == KEPT
