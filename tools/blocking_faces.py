"""Writes `src/perdure/sync/faces.py`: a blocking class for each asynchronous one of the client.

::

    make sync

It reads the source of `perdure.client` and emits, for every public method, one of the same signature that hands the
call to the client's own loop. There is no logic in what it writes, and what the client gains gets its
face by running it again; a test fails until somebody does. What has a face: each class without a base that the
package exports, if it has anything to await, or gives something that has.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
CLIENT: Final = ROOT / "src" / "perdure" / "client"
TARGET: Final = ROOT / "src" / "perdure" / "sync" / "faces.py"

Function = ast.FunctionDef | ast.AsyncFunctionDef

ACCOUNT: Final = "S2"
"""The class that owns the loop; `face.Account` opens and closes it."""

LEFT_OUT: Final = {
    # Its callback would run in the client's thread, with a future of the client's loop.
    ("AppendTicket", "add_done_callback"),
    # For the bodies of chats, which nothing blocking reads.
    ("ReadSession", "next_parts"),
}

# How words about the asynchronous objects read where calls block; applied in order, to each docstring.
WORDING: Final = (
    (
        r"(?s)\s+Use it with `async with`, which\s+opens and closes it; or\b.*?\bat\s+the\s+end\.",
        "\nUse it in a `with` block.",
    ),
    (r"All calls belong to one\s+event loop\.", "Any thread may call, many at once."),
    (r"Prepare a client; nothing happens before it is entered\.", "Open a client."),
    (r"; nothing happens before it is entered\.", ", opened at once."),
    (r", opened when the client is entered\.", ", opened at once."),
    (r"\. Entering raises\n", ", and\n"),
    (r"`await` it for", "`result` waits for"),
    (r"or cancelling the task that waits for it", "or giving up waiting for it"),
    (r"so that awaiting the ticket does not wait", "so that `result` does not wait"),
    (r"Use it with `async with`", "Use it in a `with` block"),
    (r"`async with`", "`with`"),
    (r"\basync for\b", "for"),
    (r"= await ", "= "),
    (r"\baclose\b", "close"),
    (r"\bCancelling\b", "Interrupting"),
)


class Source:
    """One module of the client: its classes, and where the names in it come from."""

    def __init__(self, path: Path) -> None:
        tree = ast.parse(path.read_text(), str(path))
        self.classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
        self.origins: dict[str, str] = {}
        """Each name that may stand in a signature, and the import that brings it, seen from `perdure.sync`."""
        for node in tree.body:
            match node:
                case ast.Import(names=names):
                    self.origins |= {(a.asname or a.name): ast.unparse(ast.Import([a])) for a in names}
                case ast.ImportFrom(module=module, names=names, level=level):
                    origin = f"..client.{module}" if level == 1 else "." * level + (module or "")
                    self.origins |= {(a.asname or a.name): f"from {origin} import {ast.unparse(a)}" for a in names}
                case ast.ClassDef(name=name) | ast.AnnAssign(target=ast.Name(id=name)):
                    self.origins[name] = f"from ..client.{path.stem} import {name}"


def names_in(node: ast.AST | None) -> set[str]:
    if node is None:
        return set()
    return {found.id for found in ast.walk(node) if isinstance(found, ast.Name)}


def is_public(name: str) -> bool:
    return not name.startswith("_")


def methods(node: ast.ClassDef) -> list[Function]:
    return [item for item in node.body if isinstance(item, Function)]


def public_attributes(node: ast.ClassDef) -> list[tuple[str, ast.expr, str]]:
    """What `__init__` sets for callers to see: name, type, docstring."""
    (init,) = [method for method in methods(node) if method.name == "__init__"]
    found = []
    for item, after in zip(init.body, [*init.body[1:], None], strict=True):
        match item:
            case ast.AnnAssign(target=ast.Attribute(value=ast.Name(id="self"), attr=attr)) if is_public(attr):
                doc = after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else ""
                found.append((attr, item.annotation, str(doc)))
    return found


def find_faces(sources: list[Source]) -> dict[str, Source]:
    exported = ast.parse((CLIENT / "__init__.py").read_text())
    public = {a.name for node in exported.body if isinstance(node, ast.ImportFrom) for a in node.names}
    candidates = {
        name: source
        for source in sources
        for name, node in source.classes.items()
        if name in public and not node.bases and not node.decorator_list
    }
    faces: set[str] = set()
    while True:
        more = {
            name
            for name, source in candidates.items()
            if any(
                isinstance(method, ast.AsyncFunctionDef)
                or method.name == "__await__"
                or names_in(method.returns) & (faces | {"AsyncIterator"})
                for method in methods(source.classes[name])
            )
        }
        if more == faces:
            return {name: candidates[name] for name in sorted(faces)}
        faces = more


class Writer:
    """The text of one face."""

    def __init__(self, name: str, source: Source, faces: dict[str, Source]) -> None:
        self.name = name
        self.node = source.classes[name]
        self.faces = faces
        self.used: set[str] = set()
        """The names that its signatures need."""
        own = {method.name for method in methods(self.node)}
        self.can_lose = "abandon" in own
        # Handles hold nothing: what they do without waiting may be done in any thread.
        self.is_handle = name == ACCOUNT or not own & {"__aenter__", "__await__"}

    def text(self) -> str:
        base = "Account" if self.name == ACCOUNT else f"Face[client.{self.name}]"
        parts = [f"class {self.name}({base}):\n{self.doc(ast.get_docstring(self.node))}"]
        if self.name == ACCOUNT:
            parts += [self.constructor(method) for method in methods(self.node) if method.name == "__init__"]
        for name, annotation, doc in public_attributes(self.node):
            self.used |= names_in(annotation)
            type_ = ast.unparse(annotation)
            read = f"self._async.{name}"
            parts.append(
                f"@property\ndef {name}(self) -> {type_}:\n{self.doc(doc)}"
                f"    return {f'{type_}(self._loop, {read})' if type_ in self.faces else read}\n"
            )
        parts += [self.method(method) for method in methods(self.node)]
        head, *body = [part for part in parts if part]
        return head + "\n" + "\n".join(textwrap.indent(part, "    ") for part in body)

    def doc(self, text: str | None) -> str:
        if not text:
            return ""
        for pattern, wording in WORDING:
            text = re.sub(pattern, wording, text)
        if "\n" in text:
            text += "\n"
        return textwrap.indent(f'"""{text}"""', "    ", lambda line: bool(line.strip())) + "\n"

    def constructor(self, method: Function) -> str:
        return (
            f"def __init__({self.arguments(method)}) -> None:\n{self.doc(ast.get_docstring(method))}"
            f"    self._start(lambda: client.{self.name}({self.passed_on(method)}))\n"
        )

    def method(self, method: Function) -> str:
        name, decorators = method.name, {ast.unparse(item) for item in method.decorator_list}
        if (self.name, name) in LEFT_OUT:
            return ""
        if not is_public(name):
            return self.special(method)
        if name == "aclose":
            return "" if self.name == ACCOUNT else self.ending(method, "close", quietly=not self.can_lose)
        if name == "abandon":
            return self.ending(method, name, quietly=True)
        if name == "write_all":
            return self.loop(method, "write")
        returns, wrap = self.returned(method.returns)
        head = f"def {name}({self.arguments(method)}) -> {returns}:\n{self.doc(ast.get_docstring(method))}"
        if "classmethod" in decorators:
            made = f"cls._started(lambda: client.{self.name}.{name}({self.passed_on(method)}))"
            return f"@classmethod\n{head}    return {made}\n"
        is_property = "property" in decorators
        call = f"self._async.{name}" if is_property else f"self._async.{name}({self.passed_on(method)})"
        if isinstance(method, ast.AsyncFunctionDef):
            call = f"self._run(lambda: {call})"
        elif not self.is_handle:
            alone = is_property or not self.passed_on(method)
            call = f"self._{'look' if alone else 'ask'}(lambda: {call})"
        body = "".join(f"    {line}\n" for line in [*self.gathered(method), *wrap(call)])
        return f"{'@property' if is_property else ''}\n{head}{body}".lstrip("\n")

    def special(self, method: Function) -> str:
        match method.name:
            case "__repr__":
                return "def __repr__(self) -> str:\n    return repr(self._async)\n"
            case "__await__" if self.name != ACCOUNT:
                assert isinstance(method.returns, ast.Subscript)
                assert isinstance(method.returns.slice, ast.Tuple)
                answer = method.returns.slice.elts[2]  # Generator[yielded, sent, answer]
                self.used |= names_in(answer)
                return (
                    f"def result(self) -> {ast.unparse(answer)}:\n{self.doc(ast.get_docstring(method))}"
                    f"    async def answered() -> {ast.unparse(answer)}:\n        return await self._async\n\n"
                    f"    return self._result(self._async.done, answered)\n"
                )
            case "__aenter__" if self.name != ACCOUNT:
                give_up = "abandon" if self.can_lose else "aclose"
                return (
                    f"def __enter__(self) -> {self.name}:\n"
                    f"    self._enter(self._async.__aenter__, self._async.{give_up})\n    return self\n"
                )
            case "__aexit__" if self.name != ACCOUNT:
                self.used |= {"TracebackType"}
                quietly = "exc is not None" if self.can_lose else "True"
                return (
                    f"def __exit__({self.arguments(method)}) -> None:\n"
                    f"    self._leave(lambda: self._async.__aexit__({self.passed_on(method)}), quietly={quietly})\n"
                )
            case "__aiter__":
                returns, _ = self.returned(method.returns)
                return f"def __iter__(self) -> {returns}:\n    return self\n"
            case "__anext__":
                returns, _ = self.returned(method.returns)
                return f"def __next__(self) -> {returns}:\n    return self._next(self._async.__anext__)\n"
        return ""

    def ending(self, method: Function, name: str, *, quietly: bool) -> str:
        return (
            f"def {name}(self) -> None:\n{self.doc(ast.get_docstring(method))}"
            f"    self._leave(self._async.{method.name}, quietly={quietly})\n"
        )

    def loop(self, method: Function, step: str) -> str:
        """A method that takes item by item from a source, which is run by its caller: here the loop is the caller's."""
        (source,) = method.args.args[1:]
        self.used |= {"Iterable"} | names_in(source.annotation) - {"AsyncIterable"}
        kinds = ast.unparse(source.annotation).split(" | ") if source.annotation else []
        (plain,) = [kind for kind in kinds if kind.startswith("Iterable[")]
        return (
            f"def {method.name}(self, {source.arg}: {plain}) -> None:\n{self.doc(ast.get_docstring(method))}"
            f"    give_each({source.arg}, self.{step})\n"
        )

    def arguments(self, method: Function) -> str:
        self.used |= names_in(method.args)
        return ast.unparse(method.args)

    def passed_on(self, method: Function) -> str:
        arguments = method.args
        assert not arguments.vararg, f"{self.name}.{method.name}: variable arguments have no face yet"
        assert not arguments.kwarg, f"{self.name}.{method.name}: variable arguments have no face yet"
        positional = [argument.arg for argument in [*arguments.posonlyargs, *arguments.args]][1:]
        return ", ".join(positional + [f"{argument.arg}={argument.arg}" for argument in arguments.kwonlyargs])

    def gathered(self, method: Function) -> list[str]:
        """What may be a generator is run by its caller, not in the loop, which it would hold up."""
        everything = [*method.args.posonlyargs, *method.args.args, *method.args.kwonlyargs]
        lazy = [a.arg for a in everything if a.annotation and ast.unparse(a.annotation).startswith("Iterable[")]
        return [f"{name} = tuple({name})" for name in lazy]

    def returned(self, annotation: ast.expr | None) -> tuple[str, Callable[[str], list[str]]]:
        """The type of the answer here, and the lines that return it, made of the call that gives it."""
        assert annotation is not None
        self.used |= names_in(annotation)
        text = ast.unparse(annotation)
        if text in self.faces:
            return text, lambda call: [f"return {text}(self._loop, {call})"]
        alternatives = [part for part in text.split(" | ") if part != "None"]
        if len(alternatives) == 1 and alternatives[0] in self.faces:
            face = alternatives[0]
            return text, lambda call: [
                f"answer = {call}",
                f"return None if answer is None else {face}(self._loop, answer)",
            ]
        assert not names_in(annotation) & set(self.faces), f"{self.name}: {text} holds an object that needs a face"
        if text.startswith("AsyncIterator["):
            self.used |= {"Iterator"}
            return text.removeprefix("Async"), lambda call: [f"return BlockingIterator(self._loop, {call})"]
        return text, lambda call: [f"return {call}"]


HEAD: Final = '''"""The blocking classes. Written by `make sync` from those of `perdure.client`; do not edit."""

from __future__ import annotations

'''


def faces_text() -> str:
    """The module as it should be."""
    sources = [Source(path) for path in sorted(CLIENT.glob("*.py")) if path.stem != "__init__"]
    faces = find_faces(sources)
    writers = [Writer(name, source, faces) for name, source in faces.items()]
    classes = [writer.text() for writer in writers]
    imports = {
        "from .. import client",
        "from collections.abc import Iterator",
        "from types import TracebackType",
        "from .face import Account, BlockingIterator, Face, give_each",
    }
    for writer, source in zip(writers, faces.values(), strict=True):
        wanted = writer.used - set(faces) - {"AsyncIterator", "Iterator", "Generator", "TracebackType"}
        imports |= {source.origins[name] for name in wanted if name in source.origins}
    listed = ", ".join(f'"{name}"' for name in faces)
    return tidy(HEAD + "\n".join(sorted(imports)) + f"\n\n__all__ = [{listed}]\n\n\n" + "\n\n".join(classes))


def tidy(code: str) -> str:
    """As ruff would have it."""
    ruff = Path(sys.executable).with_name("ruff")
    name = ("--stdin-filename", str(TARGET), "-")
    for command in (["check", "--quiet", "--fix", "--select", "I,RUF022"], ["format", "--quiet"]):
        code = subprocess.run(
            [str(ruff), *command, *name], input=code, cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
    return code


if __name__ == "__main__":
    TARGET.write_text(faces_text())
