"""The `perdure` command.

`main` looks whether the packages are there that the command line needs, `app` names the commands and runs one of them,
each command's work is a module of its own, imported when it is used. What commands share: `targets` (which store),
`uri` (s2://basin/stream), `option_types` (what may stand after an option), `output` (tables and JSON) and `exits`
(statuses, and what is said about a failure).
"""

from .main import main as main

__all__ = ["main"]
