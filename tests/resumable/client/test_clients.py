"""What both clients must do, the browser modules and the Python client: one table, run by two runners."""

from __future__ import annotations

import pytest

from tests.resumable.client.cases import Case
from tests.resumable.client.chat_cases import CHAT, HISTORIES
from tests.resumable.client.connection_cases import CONNECTIONS
from tests.resumable.client.program import RUNNERS
from tests.resumable.client.scripted_peer import ScriptedPeer
from tests.resumable.client.subscription_cases import BODIES, SUBSCRIBE

CASES = [*BODIES, *SUBSCRIBE, *HISTORIES, *CHAT, *CONNECTIONS]


@pytest.mark.parametrize("language", RUNNERS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_a_client_does_what_the_table_says(case: Case, language: str) -> None:
    async with ScriptedPeer(case.answers) as peer:
        log = await RUNNERS[language](peer.url, case.program)
        assert log == case.log
        assert [str(request) for request in peer.requests] == list(case.requests)
        for name, values in case.headers.items():
            assert [request.headers.get(name) for request in peer.requests] == values
        if case.bodies is not None:
            assert [request.body for request in peer.requests] == list(case.bodies)
        if case.connections is not None:
            assert peer.connections == case.connections


def test_the_names_of_the_cases_differ() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
