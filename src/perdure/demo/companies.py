"""A small table of companies, all invented, for a tool to look things up in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Company:
    """One row. The revenue is that of a year, in millions of euros."""

    name: str
    city: str
    trade: str
    founded: int
    employees: int
    revenue_million_eur: float


COMPANIES: Final = (
    Company("Aldermoor Paper", "Kendal", "paper mill", 1847, 1840, 412.5),
    Company("Corvid Logistics", "Rotterdam", "freight", 1998, 5210, 1275.0),
    Company("Fenwick Lenses", "Jena", "optics", 1911, 960, 238.4),
    Company("Halyard Rope Works", "Bergen", "ropes and nets", 1872, 310, 54.2),
    Company("Juniper Ovens", "Lyon", "bakery equipment", 1956, 725, 131.0),
    Company("Marlow Tidal", "Saint-Malo", "tidal power", 2009, 480, 96.8),
)


def find_company(name: str) -> Company | None:
    """The company of that name, or the only one whose name contains it."""
    wanted = " ".join(name.split()).casefold()
    found = [company for company in COMPANIES if wanted and wanted in company.name.casefold()]
    exact = [company for company in found if company.name.casefold() == wanted]
    return (exact or found)[0] if exact or len(found) == 1 else None
