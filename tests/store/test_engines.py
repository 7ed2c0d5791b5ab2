"""Every engine keeps the contract."""

from tests.store.engine_suite import EngineContract


class TestEngines(EngineContract):
    """One test of the suite for each engine of `tests.store.stores`."""
