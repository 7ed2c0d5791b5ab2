"""What every listing is asked (store API, section 3.1)."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from ..errors import BadRequest, Invalid
from ..model.limits import MAX_PAGE_ITEMS
from .request import Request


class PageQuery(Struct, frozen=True):
    """Which page: names that begin with `prefix` and come after `start_after`, at most `limit` of them."""

    prefix: str
    start_after: str
    limit: int


def page_query(request: Request, check: Callable[[str, str], str]) -> PageQuery:
    """The page that a query asks for. `check` has the rules for its prefix and its start, and raises `Invalid`.

    A limit of 0, or above the largest page, means the largest page. Raises `BadRequest` (`bad_query`).
    """
    query = request.query()
    prefix = query.text("prefix") or ""
    start_after = query.text("start_after") or ""
    limit = query.number("limit")
    try:
        check(prefix, "prefix")
        check(start_after, "start_after")
    except Invalid as exc:
        raise BadRequest(exc.message, "bad_query") from None
    return PageQuery(prefix, start_after, limit if limit and limit <= MAX_PAGE_ITEMS else MAX_PAGE_ITEMS)
