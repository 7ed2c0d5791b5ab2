"""The order of the pages: what the site shows at its side."""

from __future__ import annotations

from typing import Final

CONTENTS: Final = {
    "Start": ["ai-sdk", "anthropic", "tanstack-ai", "openai", "generic-streams", "events", "clients"],
    "Concepts": ["concepts", "durability"],
    "Guides": [
        "frameworks",
        "operating-chats",
        "observability",
        "command-line",
        "deploy",
        "secure",
        "inspector",
        "backups",
        "beyond-one-machine",
        "cluster",
        "from-redis",
        "from-s2-sdks",
    ],
    "Reference": [
        "reference/perdure",
        "reference/resumable",
        "reference/clients",
        "reference/patterns",
        "reference/sync",
        "reference/errors",
        "reference/server",
        "reference/telemetry",
        "reference/http",
        "reference/command-line",
    ],
    "More": ["performance", "contributing", "changelog"],
}


def toctrees() -> str:
    """What is added to the first page. It is not written there, where readers of the plain page would see it."""
    return "\n".join(
        f"```{{toctree}}\n:hidden:\n:caption: {caption}\n\n" + "\n".join(pages) + "\n```\n"
        for caption, pages in CONTENTS.items()
    )
