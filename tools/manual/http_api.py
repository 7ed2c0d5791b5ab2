"""The reference of the HTTP API, from the description that the server serves."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

import perdure.server
from perdure.errors import CODES

Part: TypeAlias = Mapping[str, Any]
"""A part of the description, as JSON has it."""

DESCRIPTION: Final = Path(perdure.server.__file__).with_name("openapi.json")
_METHODS: Final = ("get", "post", "put", "patch", "delete")
_BODIES: Final = {"application/json": "JSON", "application/protobuf": "protobuf", "s2s/proto": "s2s frames"}


def as_markdown() -> str:
    """The operations by what they are about, then the errors and the values."""
    description: Part = json.loads(DESCRIPTION.read_text())
    lines: list[str] = []
    for tag in description["tags"]:
        lines += [f"## {tag['name'].replace('-', ' ').capitalize()}", ""]
        for path, operations in description["paths"].items():
            base = operations.get("servers", description["servers"])[0]["url"]
            for method, operation in operations.items():
                if method in _METHODS and operation["tags"] == [tag["name"]]:
                    lines += _operation(method, f"{base.rstrip('/')}{path}", operation)
    lines += _errors()
    lines += ["## Values", ""]
    for name, schema in description["components"]["schemas"].items():
        lines += _value(name, schema)
    return "\n".join(lines)


def _operation(method: str, path: str, operation: Part) -> Iterator[str]:
    yield from (f"### {operation['summary'].rstrip('.')}", "")
    yield from ("```text", f"{method.upper()} {path}", "```", "")
    if operation.get("description"):
        yield from (operation["description"], "")
    if operation.get("parameters"):
        yield from ("| Parameter | In | Kind | Meaning |", "|---|---|---|---|")
        for parameter in operation["parameters"]:
            schema = parameter.get("schema") or next(iter(parameter["content"].values()))["schema"]
            required = ", required" if parameter.get("required") and parameter["in"] != "path" else ""
            meaning = _line(parameter.get("description", ""))
            yield f"| `{parameter['name']}` | {parameter['in']}{required} | {_kind(schema)} | {meaning} |"
        yield ""
    if "requestBody" in operation:
        yield from (f"**Body**: {_content(operation['requestBody']['content'])}.", "")
    answers: dict[tuple[str, str], list[str]] = {}
    for status, answer in operation["responses"].items():
        told = (_content(answer.get("content", {})), _line(answer.get("description", "")))
        answers.setdefault(told, []).append(status)
    yield from ("| Status | Body | |", "|---|---|---|")
    yield from (f"| {', '.join(statuses)} | {body} | {words} |" for (body, words), statuses in answers.items())
    yield ""


def _content(content: Part) -> str:
    """The forms of a body, and what it is."""
    kinds = dict.fromkeys(_kind(form["schema"]) for form in content.values() if "$ref" in json.dumps(form["schema"]))
    forms = [_BODIES.get(name, f"`{name}`") for name in content]
    return f"{', '.join(kinds)} as {', '.join(forms)}" if kinds else ", ".join(forms)


def _kind(schema: Part) -> str:
    """A type in a few words, with links to those that have a name."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{json.dumps(value)}`" for value in schema.get("enum", [schema.get("const")]))
    for word in ("oneOf", "anyOf", "allOf"):
        if word in schema:
            return " or ".join(dict.fromkeys(_kind(choice) for choice in schema[word]))
    kind = schema.get("type", "anything")
    if isinstance(kind, list):
        return " or ".join(kind)
    if kind == "array":
        tuple_of = schema.get("prefixItems")
        return f"array of {_kind(schema['items'])}" if tuple_of is None and schema.get("items") else "array"
    if kind == "object" and "properties" in schema:
        return "object with " + ", ".join(f"`{name}`: {_kind(value)}" for name, value in schema["properties"].items())
    limits = ("minimum", "maximum", "minLength", "maxLength", "default")
    told = [f"{_words(limit)} {json.dumps(schema[limit])}" for limit in limits if schema.get(limit) not in (None, "")]
    return f"{kind} ({', '.join(told)})" if told else str(kind)


def _words(limit: str) -> str:
    return {"minLength": "length from", "maxLength": "length to", "minimum": "from", "maximum": "to"}.get(limit, limit)


def _line(text: str) -> str:
    """Text in a cell of a table."""
    return re.sub(r"\s+", " ", text).replace("|", "\\|").strip()


def _value(name: str, schema: Part) -> Iterator[str]:
    yield from (f"### {name}", "")
    if schema.get("description"):
        yield from (schema["description"], "")
    if schema.get("type") != "object" or "properties" not in schema:
        yield from (_kind(schema) + ".", "")
        return
    required = schema.get("required", [])
    yield from ("| Field | Kind | Meaning |", "|---|---|---|")
    for field, value in schema["properties"].items():
        told = [value, *value.get("oneOf", [])]
        meaning = next((part["description"] for part in told if "description" in part), "")
        kind = _kind({key: part for key, part in value.items() if key != "description"})
        yield f"| `{field}`{'' if field in required else ' (optional)'} | {kind} | {_line(meaning)} |"
    yield ""


def _errors() -> Iterator[str]:
    yield from ("## Errors", "")
    yield from ("The body of an error is `{code, message}`. These are the codes:", "")
    yield from ("| Code | Status | Try again | Certainly nothing was changed |", "|---|---|---|---|")
    for code, facts in CODES.items():
        again, nothing = ("yes" if yes else "no" for yes in (facts.retryable, facts.no_side_effects))
        yield f"| `{code}` | {facts.status} | {again} | {nothing} |"
    yield ""
