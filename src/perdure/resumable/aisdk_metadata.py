"""How the AI SDK puts pieces of message metadata together."""

from __future__ import annotations

from typing import Final

from .json_body import JsonObject, JsonValue

_PROTOTYPE_KEYS: Final = frozenset(("__proto__", "constructor", "prototype"))
"""Keys through which a page that copies objects carelessly would change the prototype of all its objects."""


def merge_metadata(current: JsonValue, added: JsonValue) -> JsonValue:
    """`current` with `added` merged in; neither is changed.

    Objects are merged key by key at every depth; everything else, nested nulls included, replaces what was there.
    """
    if not isinstance(added, dict):
        return added
    merged: JsonObject = dict(current) if isinstance(current, dict) else {}
    for key, value in added.items():
        if key not in _PROTOTYPE_KEYS:
            merged[key] = merge_metadata(merged.get(key), value)
    return merged
