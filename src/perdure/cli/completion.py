"""`perdure completion`, and the names that a shell completes: of basins and streams, from the store that is meant."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeAlias

from cyclopts import Parameter

from ..errors import PerdureError

if TYPE_CHECKING:
    from cyclopts.completion._engine import CompletionContext

    from .targets import Target

SUGGESTIONS: Final = 100
"""The most names that are offered; more help nobody."""

_PATIENCE_SECONDS: Final = 2.0
"""How long a shell is kept waiting by a store that does not answer."""

_SAFE: Final = re.compile(r"[\w./:@%+=,-]+")
"""Names that stand on a command line as they are. Others are not offered: a shell would take them apart, or obey."""

_WHOLE_ADDRESSES: Final = """
# Bash takes words apart at colons, and puts a candidate in place of what follows the last one.
_perdure_addresses() {
  local -a words=()
  local -i current=COMP_CWORD index
  local joined=
  for ((index = 0; index < ${#COMP_WORDS[@]}; index++)); do
    if [[ ${COMP_WORDS[index]} == s2 && ${COMP_WORDS[index + 1]-} == :* ]]; then
      local word="s2${COMP_WORDS[index + 1]}"
      local -i skipped=1
      if [[ $word == s2: && ${COMP_WORDS[index + 2]-} == //* ]]; then
        word+="${COMP_WORDS[index + 2]}"
        skipped=2
      fi
      words+=("$word")
      ((index + skipped == COMP_CWORD)) && joined=s2:
      ((index + skipped <= COMP_CWORD)) && current=current-skipped
      index+=skipped
    else
      words+=("${COMP_WORDS[index]}")
    fi
  done
  local -a COMP_WORDS=("${words[@]}")
  local -i COMP_CWORD=current
  _perdure "$@"
  [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == s2://*/ ]] && compopt -o nospace 2>/dev/null
  COMPREPLY=("${COMPREPLY[@]#"$joined"}")
}
complete -F _perdure_addresses perdure"""

Shell: TypeAlias = Literal["bash", "zsh", "fish"]


def completion(
    shell: Annotated[Shell, Parameter(name="SHELL", help="Whose script is wanted.")],
    /,
) -> None:
    """Print the script; a shell that has read it completes commands, options, basins and streams."""
    from .app import build_app

    print(build_app().generate_completion(shell=shell))
    if shell == "bash":
        print(_WHOLE_ADDRESSES)


def complete_basin(context: CompletionContext) -> list[str]:
    """The basins whose address, or name, begins with what is typed."""
    return _names(context, streams=False)


def complete_stream(context: CompletionContext) -> list[str]:
    """The basins, and once one is typed its streams."""
    return _names(context, streams=True)


def _names(context: CompletionContext, *, streams: bool) -> list[str]:
    from .uri import SCHEME

    typed, target = context.incomplete, _target(context)
    rest = typed.removeprefix(SCHEME)
    if SCHEME.startswith(typed):
        rest = ""  # the scheme itself is still to be completed
    elif rest == typed:
        # A basin goes by its bare name as well.
        return [] if streams or "/" in typed or ":" in typed else _asked(target, None, typed)
    basin, slash, prefix = rest.partition("/")
    if slash:
        return [f"{SCHEME}{basin}/{name}" for name in _asked(target, basin, prefix)] if streams else []
    ending = "/" if streams else ""
    return [f"{SCHEME}{name}{ending}" for name in _asked(target, None, rest)]


def _target(context: CompletionContext) -> Target:
    """The store that the command line so far says."""
    from .targets import Target

    given = {name: context.get(f"--{name.replace('_', '-')}") for name in ("data", "engine", "endpoint", "token_file")}
    return Target(**{name: value.raw for name, value in given.items() if value is not None})


def _asked(target: Target, basin: str | None, prefix: str) -> list[str]:
    """Names of basins, or of the streams of `basin`; none where the store cannot be asked, since nobody reads why."""
    from .targets import Use

    async def ask() -> list[str]:
        async with asyncio.timeout(_PATIENCE_SECONDS), target.open(Use.LOOKS) as s2:
            if basin is None:
                return [info.name for info in (await s2.basins.list(prefix=prefix, limit=SUGGESTIONS)).items]
            page = await s2.basin(basin).streams.list(prefix=prefix, limit=SUGGESTIONS)
            return [info.name for info in page.items]

    try:
        return [name for name in asyncio.run(ask()) if _SAFE.fullmatch(name)]
    except (PerdureError, OSError, TimeoutError):
        return []
