"""Histories as they should be, whatever the route sent."""

from __future__ import annotations

from ..anthropic_history import History, Turn, TurnError
from ..json_body import JsonValue
from .cursor import is_place


def history_of(value: JsonValue) -> History:
    """The history in what a history route answered; what does not belong there is left out."""
    told = value if isinstance(value, dict) else {}
    turns = [turn for item in _list(told.get("turns")) if (turn := _turn(item)) is not None]
    messages = told.get("messages")
    next_seq_num = told.get("nextSeqNum")
    return {
        "turns": turns,
        "messages": [message for message in messages if isinstance(message, dict)]
        if isinstance(messages, list)
        else [turn["assistant"] for turn in turns if "assistant" in turn],
        "nextSeqNum": next_seq_num if is_place(next_seq_num) else 0,
    }


def _turn(item: JsonValue) -> Turn | None:
    if not isinstance(item, dict) or not isinstance(user := item.get("user"), str):
        return None
    turn: Turn = {"user": user}
    if isinstance(assistant := item.get("assistant"), dict):
        turn["assistant"] = assistant
    if (error := _error(item.get("error"))) is not None:
        turn["error"] = error
    if item.get("stopped") is True:
        turn["stopped"] = True
    if isinstance(partial := item.get("partial"), dict):
        turn["partial"] = partial
    return turn


def _error(value: JsonValue) -> TurnError | None:
    if not isinstance(value, dict):
        return None
    kind, message = value.get("type"), value.get("message")
    if not isinstance(kind, str) or not isinstance(message, str):
        return None
    return {"type": kind, "message": message}


def _list(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else []
