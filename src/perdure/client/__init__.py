"""The SDK: an account with its basins and streams, sessions, and what carries their requests."""

from .access_tokens import AccessToken, AccessTokens
from .append_session import AppendSession, AppendTicket
from .basin import Basin, Basins, Streams
from .locations import Locations
from .metrics import Metrics
from .producer import Producer, RecordAck, RecordTicket
from .read_session import ReadSession
from .s2 import S2
from .stream import Stream
from .transport import AppendChannel, ReadChannel, Transport

__all__ = [
    "S2",
    "AccessToken",
    "AccessTokens",
    "AppendChannel",
    "AppendSession",
    "AppendTicket",
    "Basin",
    "Basins",
    "Locations",
    "Metrics",
    "Producer",
    "ReadChannel",
    "ReadSession",
    "RecordAck",
    "RecordTicket",
    "Stream",
    "Streams",
    "Transport",
]
