"""What is said about a call that makes no sense, in place of the library's own words."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from cyclopts import CycloptsError, MissingArgumentError, UnknownCommandError, UnknownOptionError, UnusedCliTokensError
from cyclopts.exceptions import RepeatArgumentError


def misuse_message(exc: CycloptsError, commands: Sequence[str]) -> str:
    """One sentence about `exc`; `commands` are the names that there are."""
    match exc:
        case UnknownCommandError():
            name = exc.unused_tokens[0] if exc.unused_tokens else ""
            return f"there is no command {name!r}{_did_you_mean(name, commands)}"
        case UnknownOptionError():
            given = exc.token.keyword or exc.token.value
            options = [name for argument in exc.argument_collection for name in argument.names if argument.parse]
            return f"there is no option {given}{_did_you_mean(given, options)}"
        case MissingArgumentError() if exc.argument is not None:
            name = exc.keyword or exc.argument.name
            if name.startswith("-"):
                is_given = exc.keyword is not None or any(token.keyword for token in exc.argument.tokens)
                return f"{name} needs a value" if is_given else f"{name} is missing"
            return f"{name} is missing"
        case UnusedCliTokensError() if exc.unused_tokens:
            return f"there is one argument too many: {exc.unused_tokens[0]!r}"
        case RepeatArgumentError():
            return f"{exc.token.keyword} is given twice"
        case _:
            text = str(exc).removesuffix(".").replace(". Choose from: ", "; choose from: ")
            return text[:1].lower() + text[1:]


def _did_you_mean(given: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(given, known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""
