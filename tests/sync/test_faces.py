"""The blocking classes say the same as the asynchronous ones."""

import inspect
import re
from collections.abc import Iterator

import pytest

import perdure.sync
from perdure import client
from perdure.sync import S2
from tools.blocking_faces import LEFT_OUT, TARGET, faces_text

NAMES = [name for name, value in vars(perdure.sync).items() if isinstance(value, type)]
NAMED_OTHERWISE = {"aclose": "close", "__await__": "result"}


def asynchronous_methods() -> Iterator[tuple[str, str]]:
    """Each public thing of each class that has a face, and what awaiting the object itself is."""
    for name in NAMES:
        for attribute in vars(getattr(client, name)):
            waits_for_itself = attribute == "__await__" and name != "S2"  # `S2.open` is open, here
            if (waits_for_itself or not attribute.startswith("_")) and (name, attribute) not in LEFT_OUT:
                yield name, attribute


def is_asynchronous(name: str) -> bool:
    cls = getattr(client, name)
    return (
        isinstance(cls, type)
        and not getattr(cls, "_is_protocol", False)
        and any(inspect.iscoroutinefunction(member) or key == "__await__" for key, member in vars(cls).items())
    )


def test_the_module_is_what_its_source_gives() -> None:
    assert TARGET.read_text() == faces_text(), "run `make sync`, and commit what it writes"


def test_every_asynchronous_class_has_a_face() -> None:
    missing = [name for name in client.__all__ if is_asynchronous(name) and name not in NAMES]
    assert missing == [], "run `make sync`, and name them in perdure/sync/__init__.py"


@pytest.mark.parametrize(("name", "attribute"), [*asynchronous_methods()])
def test_every_public_method_has_a_blocking_one_of_the_same_signature(name: str, attribute: str) -> None:
    theirs = inspect.getattr_static(getattr(client, name), attribute)
    ours = inspect.getattr_static(getattr(perdure.sync, name), NAMED_OTHERWISE.get(attribute, attribute))
    if isinstance(theirs, property):
        assert isinstance(ours, property)
        theirs, ours = theirs.fget, ours.fget
    elif isinstance(theirs, classmethod):
        theirs, ours = theirs.__func__, ours.__func__
    assert not inspect.iscoroutinefunction(ours)
    wanted, found = inspect.signature(theirs), inspect.signature(ours)
    # What the caller's thread runs cannot be asynchronous.
    plain = [
        parameter.replace(annotation=re.sub(r"^AsyncIterable\[\w+\] \| ", "", str(parameter.annotation)))
        if "AsyncIterable" in str(parameter.annotation)
        else parameter
        for parameter in wanted.parameters.values()
    ]
    assert [*found.parameters.values()] == plain
    answer = re.sub(r"^Generator\[Any, None, (.*)\]$", r"\1", str(wanted.return_annotation))
    assert found.return_annotation == answer.replace("AsyncIterator[", "Iterator[")


def test_clients_are_made_with_the_same_arguments() -> None:
    assert inspect.signature(S2).parameters == inspect.signature(client.S2).parameters


@pytest.mark.parametrize("name", NAMES)
def test_what_an_object_holds_is_there_as_well(name: str) -> None:
    annotated = {key for key in vars(getattr(perdure.sync, name)) if not key.startswith("_")}
    source = inspect.getsource(getattr(client, name))
    held = set(re.findall(r"^ +self\.([a-z]\w*): ", source, re.MULTILINE))
    assert held <= annotated


@pytest.mark.parametrize("name", NAMES)
def test_docstrings_speak_of_blocking_calls(name: str) -> None:
    cls = getattr(perdure.sync, name)
    docs = [cls.__doc__ or "", *(member.__doc__ or "" for key, member in vars(cls).items() if not key.startswith("_"))]
    docs.append(cls.__init__.__doc__ or "")
    found = re.findall(r".*(?:await|async|aclose|\btask|event loop|is entered|[Cc]ancel).*", "\n".join(docs))
    assert found == [], "teach tools/blocking_faces.py how to word this"
