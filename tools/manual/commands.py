"""The reference of the command line, as the commands themselves tell it."""

from __future__ import annotations

import re
from typing import Final

from perdure.cli.app import build_app

_OPTION_OR_CODE: Final = re.compile(r"```.*?```|`[^`\n]*`|(?P<option>--[a-z][\w-]*)", re.DOTALL)


def as_markdown() -> str:
    """Each command with its options; without the title and the table of contents, which the site has."""
    told = build_app().generate_docs(output_format="markdown", recursive=True)
    _, _, commands = told.partition("\n**")
    told = f"**{commands}".replace("```console", "```text")  # forms of calls, not what can be pasted
    return _OPTION_OR_CODE.sub(lambda found: f"`{found[0]}`" if found["option"] else found[0], told)
