"""How long tests wait for what must come."""

from typing import Final

PATIENCE_SECONDS: Final = 30.0
"""For one thing that takes milliseconds on an idle machine: enough for a slow and busy one, below a test's limit."""

PROCESS_SECONDS: Final = 60.0
"""For a short program of its own, from the start of its interpreter to its end."""
