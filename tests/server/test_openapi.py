"""The served description differs from the published one where, and only where, it is said here why."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeAlias

from perdure.server.endpoints import ENDPOINTS
from perdure.server.openapi import DESCRIPTION

Json: TypeAlias = dict[str, "Json"] | list["Json"] | str | int | float | bool | None

PUBLISHED = Path(__file__).parent / "data" / "openapi-published.json"

SCHEMAS = "/components/schemas"
# Patterns of JSON pointers, and why what is there differs. `*` also spans slashes.
DIFFERENCES = {
    "/info/description": "answers that belong to no call",
    "/servers/0/url": "the server describes itself",
    "/paths/~1health": "the pages of the server itself",
    "/paths/~1ping": "the pages of the server itself",
    "/paths/~1{page}": "the pages of the server itself",
    "/paths/~1openapi.json": "the pages of the server itself",
    "/tags/6": "the pages of the server itself",
    "/paths/~1streams*/servers": "here the basin is in a header, or in the host's name",
    f"{SCHEMAS}/BasinScope": "basins have a location, not a scope",
    f"{SCHEMAS}/*/properties/scope": "basins have a location, not a scope",
    f"{SCHEMAS}/*/properties/location": "basins have a location, not a scope",
    f"{SCHEMAS}/LocationName": "basins have a location, not a scope",
    f"{SCHEMAS}/LocationInfo": "the calls for locations are left out",
    "/paths/~1locations*": "the calls for locations are left out",
    "/tags/5": "the calls for locations are left out",
    f"{SCHEMAS}/Operation/enum/*": "the calls for locations are operations too",
    f"{SCHEMAS}/BasinInfo/properties/state": "it is deprecated, and still told",
    f"{SCHEMAS}/*Info/required/*": "an answer has every field, null included",
    f"{SCHEMAS}/BasinReconfiguration/properties/create_stream_on_*/type": "null is refused here",
    f"{SCHEMAS}/ErrorInfo/properties/code/enum": "codes are a closed set",
    f"{SCHEMAS}/PingEventData/properties/tail": "a ping tells the tail",
    f"{SCHEMAS}/PingEventData/required/*": "a ping tells the tail",
    f"{SCHEMAS}/ReadEvent/oneOf/3": "the event that ends a read is left out",
    f"{SCHEMAS}/ReadEvent/oneOf/*/properties/data/*": "what an event carries is JSON in a string",
    f"{SCHEMAS}/BasinNameStr/pattern": "rules that stand in prose only, or nowhere",
    f"{SCHEMAS}/RequestToken/pattern": "rules that stand in prose only, or nowhere",
    f"{SCHEMAS}/AppendInput/properties/records/*Items": "rules that stand in prose only, or nowhere",
    f"{SCHEMAS}/RetentionPolicy/oneOf/*": "rules that stand in prose only, or nowhere",
    "/paths/*/parameters/[01]/schema/m??Length": "rules that stand in prose only, or nowhere",
    "/paths/*/get/parameters/[01]/schema/pattern": "rules that stand in prose only, or nowhere",
    "/paths/~1basins/post/responses/200": "a create answers 201, whatever it did",
    "/paths/~1streams/get/responses/404": "an unknown basin has no streams",
    "/paths/*/responses/40[134589]": "errors that the lists leave out",
    "/paths/*/responses/41[5]": "errors that the lists leave out",
    "/paths/*/responses/42[29]": "errors that the lists leave out",
    "/paths/*/responses/50[03]": "errors that the lists leave out",
    "/paths/*/responses/20[01]/headers": "s2-provision-result tells what was done, and a secret is not to be stored",
    "/paths/~1streams*/parameters/*": "the headers s2-basin, last-event-id and s2-stream-config",
    "/paths/~1streams~1{stream}~1records/*/content/application~1protobuf": "bodies may be protobuf",
    "/paths/~1streams~1{stream}~1records/*/content/s2s~1proto": "a session has its own media type",
}


def differences(a: Json, b: Json, at: str = "") -> Iterator[str]:
    """Pointers to what is in one of the two only, or not the same in both."""
    if isinstance(a, dict) and isinstance(b, dict):
        for key in a.keys() | b.keys():
            where = f"{at}/{key.replace('~', '~0').replace('/', '~1')}"
            if key in a and key in b:
                yield from differences(a[key], b[key], where)
            else:
                yield where
    elif isinstance(a, list) and isinstance(b, list):
        for index in range(max(len(a), len(b))):
            if index < min(len(a), len(b)):
                yield from differences(a[index], b[index], f"{at}/{index}")
            else:
                yield f"{at}/{index}"
    elif a != b:
        yield at


def test_every_difference_has_a_reason() -> None:
    found = set(differences(json.loads(PUBLISHED.read_bytes()), json.loads(DESCRIPTION)))
    unexplained = {where for where in found if not any(fnmatchcase(where, pattern) for pattern in DIFFERENCES)}
    unused = {pattern for pattern in DIFFERENCES if not any(fnmatchcase(where, pattern) for where in found)}
    assert (sorted(unexplained), sorted(unused)) == ([], [])


def test_what_is_served_is_what_is_described() -> None:
    document = json.loads(DESCRIPTION)
    described: dict[tuple[str, str], str] = {}
    for path, item in document["paths"].items():
        root = item.get("servers", document["servers"])[0]["url"].rstrip("/")
        for method, operation in item.items():
            if method == "servers":
                continue
            # A parameter with a closed set of values stands for these, any other for a name.
            for parameter in operation.get("parameters", ()):
                if parameter["in"] == "path" and "enum" in parameter["schema"]:
                    (value,) = parameter["schema"]["enum"]
                    path = path.replace(f"{{{parameter['name']}}}", value)
            described[method.upper(), root + re.sub(r"{[a-z]+}", "*", path)] = operation["operationId"]
    assert described.keys() == {(endpoint.method, endpoint.path) for endpoint in ENDPOINTS}
    assert len(set(described.values())) == len(described)
    for endpoint in ENDPOINTS:
        assert endpoint.name in described[endpoint.method, endpoint.path]


def test_every_reference_has_its_schema() -> None:
    document = json.loads(DESCRIPTION)
    names = set(document["components"]["schemas"])

    def references(value: Json) -> Iterator[str]:
        if isinstance(value, dict):
            if isinstance(target := value.get("$ref"), str):
                yield target
            for part in value.values():
                yield from references(part)
        elif isinstance(value, list):
            for part in value:
                yield from references(part)

    assert {target.removeprefix("#/components/schemas/") for target in references(document)} <= names
