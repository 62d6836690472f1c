"""Where a run is kept."""

from chipmend.fleet.store.protocol import Store
from chipmend.fleet.store.sqlite import SqliteStore

__all__ = ["SqliteStore", "Store"]
