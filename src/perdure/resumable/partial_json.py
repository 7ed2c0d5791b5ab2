"""JSON that is still arriving, read as the AI SDK's `parsePartialJson` reads it.

Tool inputs stream as pieces of JSON text. What has arrived is completed (strings and brackets closed, a dangling key
or half a number dropped) and parsed. The completion follows the SDK's `fixJson` state by state, with its quirks, so
that a history shows the same partial input as the tab that watched it arrive.
"""

from __future__ import annotations

import re
from typing import Final

from .json_body import JsonValue, parse_body

_STRING_STOP: Final = re.compile(r'["\\]')
_DIGITS: Final = frozenset("0123456789")
_HEX: Final = frozenset("0123456789abcdefABCDEF")
_LITERALS: Final = ("true", "false", "null")
_CLOSERS: Final = {
    "string": '"',
    "object start": "}",
    "object key": "}",
    "object after key": "}",
    "object before value": "}",
    "object after value": "}",
    "object after comma": "}",
    "array start": "]",
    "array after value": "]",
    "array after comma": "]",
}


def parse_partial_json(text: str) -> JsonValue:
    """The value of as much of `text` as can be read; raises `ValueError` if that is nothing.

    Like the SDK it refuses keys that would reach an object's prototype in a browser.
    """
    try:
        value = parse_body(text)
    except ValueError:
        text = complete_json(text)
        value = parse_body(text)
    # Either key has these letters, or hides them behind an escape.
    if ("proto" in text or "\\u" in text) and _reaches_prototype(value):
        raise ValueError("a key that reaches an object's prototype")
    return value


def complete_json(text: str) -> str:
    """`text` up to the last place where it could stand, with what is open closed."""
    scanner = _Scanner(text)
    scanner.scan()
    return scanner.completed()


class _Scanner:
    """One pass over the text, with a stack of what is open.

    `keep` is the end of what may stay: it lags behind while a number lacks a digit or a key its value.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._stack = ["root"]
        self._keep = 0
        self._literal_start = 0
        self._escape_digits = 0

    def scan(self) -> None:
        """Read all of the text. Characters that fit nowhere are passed over: the parser refuses them later."""
        text, at = self._text, 0
        while at < len(text):
            state = self._stack[-1]
            if state == "string" or state == "object key":
                # Long strings are the reason for a jump; a key ends at any quote, as in the SDK.
                found = _STRING_STOP.search(text, at) if state == "string" else None
                stop = found.start() if found else text.find('"', at) if state == "object key" else -1
                end = len(text) if stop < 0 else stop
                if state == "string" and end > at:
                    self._keep = end
                if stop < 0:
                    return
                at = end
            self._step(state, text[at], at)
            at += 1

    def completed(self) -> str:
        """What may stay, and the closing of what is open, innermost first."""
        pieces = [self._text[: self._keep]]
        for state in reversed(self._stack):
            if state == "literal":
                begun = self._text[self._literal_start :]
                pieces.append(next((word[len(begun) :] for word in _LITERALS if word.startswith(begun)), ""))
            else:
                pieces.append(_CLOSERS.get(state, ""))
        return "".join(pieces)

    def _step(self, state: str, char: str, at: int) -> None:
        """What one character does in the innermost state."""
        match state:
            case "root":
                self._value_start(char, at, "finished")
            case "object start" | "object after comma":
                if char == '"':
                    self._stack[-1] = "object key"
                elif char == "}" and state == "object start":
                    self._end(at)
            case "object key":
                self._stack[-1] = "object after key"
            case "object after key":
                if char == ":":
                    self._stack[-1] = "object before value"
            case "object before value":
                self._value_start(char, at, "object after value")
            case "object after value":
                self._after_object_value(char, at)
            case "string":
                if char == '"':
                    self._end(at)
                else:
                    self._stack.append("escape")
            case "array start":
                if char == "]":
                    self._end(at)
                else:
                    self._value_start(char, at, "array after value")
            case "array after value":
                if char not in ",]":
                    self._keep = at + 1
                self._after_array_value(char, at)
            case "array after comma":
                self._value_start(char, at, "array after value")
            case "escape":
                self._stack.pop()
                if char == "u":
                    self._escape_digits = 0
                    self._stack.append("unicode escape")
                else:
                    self._keep = at + 1
            case "unicode escape":
                self._escape_digits += char in _HEX
                if self._escape_digits == 4 and char in _HEX:
                    self._end(at)
            case "number":
                self._number(char, at)
            case "literal":
                self._literal(char, at)

    def _value_start(self, char: str, at: int, after: str) -> None:
        """The first character of a value; `after` is where the container stands once the value has ended."""
        if char == '"':
            inside = "string"
        elif char in "ftn":
            inside, self._literal_start = "literal", at
        elif char == "-" or char in _DIGITS:
            inside = "number"
        elif char == "{":
            inside = "object start"
        elif char == "[":
            inside = "array start"
        else:
            return
        if char != "-":  # a minus alone is no number yet
            self._keep = at + 1
        self._stack[-1] = after
        self._stack.append(inside)

    def _number(self, char: str, at: int) -> None:
        """A character of a number, or the first one after it."""
        if char in _DIGITS:
            self._keep = at + 1
        elif char not in "eE-.":
            self._stack.pop()
            if char in ",}" and self._stack[-1] == "object after value":
                self._after_object_value(char, at)
            elif char in ",]" and self._stack[-1] == "array after value":
                self._after_array_value(char, at)

    def _literal(self, char: str, at: int) -> None:
        """A character of true, false or null, or the first one after it."""
        begun = self._text[self._literal_start : at + 1]
        if any(word.startswith(begun) for word in _LITERALS):
            self._keep = at + 1
            return
        self._stack.pop()
        if self._stack[-1] == "object after value":
            self._after_object_value(char, at)
        elif self._stack[-1] == "array after value":
            self._after_array_value(char, at)

    def _after_object_value(self, char: str, at: int) -> None:
        """What may follow a member of an object."""
        if char == ",":
            self._stack[-1] = "object after comma"
        elif char == "}":
            self._end(at)

    def _after_array_value(self, char: str, at: int) -> None:
        """What may follow an item of a list."""
        if char == ",":
            self._stack[-1] = "array after comma"
        elif char == "]":
            self._end(at)

    def _end(self, at: int) -> None:
        """The innermost open thing ends with the character at `at`."""
        self._keep = at + 1
        self._stack.pop()


def _reaches_prototype(value: JsonValue) -> bool:
    """Whether an object in `value` has `__proto__`, or `constructor.prototype`."""
    pending: list[JsonValue] = [value]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            constructor = node.get("constructor")
            if "__proto__" in node or (isinstance(constructor, dict) and "prototype" in constructor):
                return True
            pending += node.values()
        elif isinstance(node, list):
            pending += node
    return False
