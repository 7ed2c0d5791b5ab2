"""Views that show many records by one call show what the calls for each of them show."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.resumable.adapter import StretchView
from perdure.resumable.aisdk import _Adapter
from perdure.resumable.aisdk_user import user_record_bodies
from perdure.resumable.frames import IdFirst
from perdure.resumable.json_body import JsonObject
from perdure.resumable.plain_text import AsItIs
from perdure.resumable.tanstack_stock import RunView

USER: JsonObject = {"id": "u1", "role": "user", "parts": [{"type": "text", "text": "hi"}]}
CONTINUED: JsonObject = {"id": "a1", "role": "assistant", "parts": [{"type": "text", "text": "begun"}]}
bodies = st.sampled_from(
    [
        b'{"type":"start","messageId":"a1"}',
        b'{"type":"text-delta","id":"1","delta":"100 % \\u2028 data-user-message"}',
        b'{"type":"RUN_FINISHED"}',
        b"x",
        *user_record_bodies(USER, trigger="submit-message", message_id=None),
        *user_record_bodies(CONTINUED, trigger="submit-message", message_id="a1"),
    ]
)
VIEWS: list[Callable[[], object]] = [
    IdFirst,
    AsItIs,
    RunView,
    _Adapter().view,
    lambda: _Adapter().view(seed=True),
    lambda: _Adapter().view(seed=True, include_user=True),
    lambda: _Adapter().view(include_user=True),
]


@pytest.mark.parametrize("make", VIEWS)
@given(some=st.lists(bodies, max_size=8), start_seq=st.integers(0, 2**53), cut=st.integers(0, 8))
def test_a_stretch_is_its_records(make: Callable[[], object], some: list[bytes], start_seq: int, cut: int) -> None:
    at_once, one_by_one = make(), make()
    assert isinstance(at_once, StretchView)
    assert isinstance(one_by_one, StretchView)
    shown = at_once.stretch(start_seq, some[:cut]) + at_once.stretch(start_seq + len(some[:cut]), some[cut:])
    assert shown == b"".join([one_by_one(seq_num, body) for seq_num, body in enumerate(some, start_seq)])
