"""Remembering what was read, within a bound."""

from __future__ import annotations

import collections
import threading
from collections.abc import Hashable
from typing import Any


class Cache:
    """Values by key, each valid for one stamp; the least recently used go first.

    The latest value is kept even where it alone is beyond the bound, so that one
    very large run can still be looked at.
    """

    def __init__(self, bound: int) -> None:
        """Makes an empty cache whose values may cost up to `bound` in all."""
        self._bound = bound
        self._lock = threading.Lock()
        self._entries: collections.OrderedDict[Hashable, tuple[Any, Any, int]]
        self._entries = collections.OrderedDict()
        self._cost = 0

    def get(self, key: Hashable, stamp: Any) -> Any | None:
        """Returns the value put under this key with this stamp, or None."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None or entry[0] != stamp:
                return None
            self._entries.move_to_end(key)
            return entry[1]

    def put(self, key: Hashable, stamp: Any, value: Any, cost: int) -> None:
        """Keeps a value, in place of any other one of this key."""
        with self._lock:
            old = self._entries.pop(key, None)
            if old is not None:
                self._cost -= old[2]
            self._entries[key] = (stamp, value, cost)
            self._cost += cost
            while self._cost > self._bound and len(self._entries) > 1:
                _, (_, _, freed) = self._entries.popitem(last=False)
                self._cost -= freed
