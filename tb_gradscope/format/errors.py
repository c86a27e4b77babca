"""The errors that tb_gradscope raises on purpose."""

from __future__ import annotations


class GradscopeError(Exception):
    """Something a user can act on: the text says what was found, expected, and to do."""


class FormatError(GradscopeError):
    """Stored data is broken, or was written by a newer tb_gradscope."""
