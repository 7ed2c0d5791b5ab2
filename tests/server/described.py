"""Whether the served description tells of an answer: its status, its media type, and its necessary header fields."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

import httpx

from perdure.server.openapi import DESCRIPTION

_DOCUMENT: Final = json.loads(DESCRIPTION)


def _operations() -> list[tuple[str, re.Pattern[str], dict[str, Any]]]:
    """Methods, paths, and the answers that are described."""
    found = []
    for path, item in _DOCUMENT["paths"].items():
        root = item.get("servers", _DOCUMENT["servers"])[0]["url"].rstrip("/")
        pattern = re.compile(re.sub(r"\\{[a-z]+\\}", "[^/]+", re.escape(root + path)))
        found += [(method.upper(), pattern, item[method]["responses"]) for method in item if method != "servers"]
    # Literal paths go before those with names.
    return sorted(found, key=lambda operation: operation[1].pattern.count("[^/]+"))


_OPERATIONS: Final = _operations()


def check_described(method: str, target: str, status: int, fields: Mapping[str, str]) -> None:
    """Hold an answer to a request for `target` against the description; what is no operation is none of it."""
    path = target.partition("?")[0]
    found = [
        responses
        for known, pattern, responses in _OPERATIONS
        if known == method and pattern.fullmatch(path) is not None
    ]
    if not found:
        return
    described = found[0].get(str(status))
    assert described is not None, f"{method} {path}: {status} is not described"
    content_type = fields.get("content-type", "").partition(";")[0]
    assert method == "HEAD" or content_type in described.get("content", ("",)), (
        f"{method} {path}: {status} {content_type} is not described"
    )
    for name, header in described.get("headers", {}).items():
        assert name in fields or not header["required"], f"{method} {path}: {status} lacks {name}"


async def check_answer(answer: httpx.Response) -> None:
    """For a client of httpx, to be asked about every answer."""
    request = answer.request
    check_described(request.method, request.url.raw_path.decode(), answer.status_code, answer.headers)
