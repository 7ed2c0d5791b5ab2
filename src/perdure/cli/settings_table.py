"""Configurations and outcomes as people read them."""

from __future__ import annotations

from collections.abc import Sequence

from ..model.resources import ProvisionResult
from .config_options import Setting
from .output import Column, is_terminal, print_table, stdout


def print_settings(settings: Sequence[Setting]) -> None:
    """Each by the name of its option. For people, what is only the default is marked."""
    shown = is_terminal(stdout())
    columns: list[Column[Setting]] = [
        Column("Setting", lambda setting: setting.name, style="cyan"),
        Column("Value", lambda setting: setting.value + (" (default)" if shown and not setting.is_set else "")),
    ]
    print_table(settings, columns, empty="")


def outcome_text(result: ProvisionResult | None) -> str:
    """What a create or ensure did."""
    match result:
        case ProvisionResult.UPDATED:
            return "updated"
        case ProvisionResult.NOOP:
            return "nothing to change about"
        case _:
            return "created"
