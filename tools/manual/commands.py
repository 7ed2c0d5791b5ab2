"""The reference of the command line, as the commands themselves tell it."""

from __future__ import annotations

from perdure.cli.app import build_app


def as_markdown() -> str:
    """Each command with its options; without the title and the table of contents, which the site has."""
    told = build_app().generate_docs(output_format="markdown", recursive=True)
    _, _, commands = told.partition("\n**")
    return f"**{commands}".replace("```console", "```text")  # forms of calls, not what can be pasted
