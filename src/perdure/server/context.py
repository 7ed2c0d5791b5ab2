"""What the handlers of one server share."""

from __future__ import annotations

from msgspec import Struct

from .access import AccessControl
from .admission import Admission
from .limits import DEFAULT_LIMITS, ServerLimits
from .live_forms import LiveForms
from .patience import PatienceClock
from .served_store import WholeStore
from .sessions import Sessions
from .telemetry import Telemetry


class ServerSettings(Struct, frozen=True, kw_only=True):
    """How one server behaves.

    `basin_domain`: a host `{basin}.{basin_domain}` names the basin of its requests; None turns that off.
    `cors`: answer cross-origin requests.
    """

    limits: ServerLimits = DEFAULT_LIMITS
    cors: bool = True
    basin_domain: str | None = "b.localhost"


class Context(Struct, frozen=True, kw_only=True):
    """The server's parts, as handlers need them.

    `store` is for what is nobody's in particular, such as health; on behalf of a client, use `Request.store`.
    `admission`: the room for appends. `intake`: that for large bodies and frames, before they are known to be appends.
    `stalls`: how long the client of a session may take nothing of what is sent to it.
    """

    store: WholeStore
    access: AccessControl
    settings: ServerSettings
    admission: Admission
    intake: Admission
    sessions: Sessions
    live_forms: LiveForms
    stalls: PatienceClock
    telemetry: Telemetry
