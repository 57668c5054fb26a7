"""The shared state of all replicas, in Redis: one multiplexed connection, scripts, keys.

`connect(url)` is where a URL becomes a store; everything above knows only `Store`.
"""

from fivenines.store._keys import key
from fivenines.store._scripts import Script
from fivenines.store._store import Store, connect

__all__ = ["Script", "Store", "connect", "key"]
