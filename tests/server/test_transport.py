"""What holds for every route: health, routing, HTTP versions, CORS, compression, limits (checklist 123 to 130)."""

from __future__ import annotations

from tests.server.running import Running


async def test_health_needs_no_header(server: Running) -> None:
    for path in ("/health", "/ping"):
        answer = await server.http.get(path)
        assert (answer.status_code, answer.text) == (200, "OK")
        assert answer.headers["content-type"].startswith("text/plain")
