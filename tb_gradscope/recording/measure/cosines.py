"""Cosines between the gradients of several losses, variable by variable.

As for the statistics there are two ways. The fast one multiplies float32; the
careful one, taken for the whole record where the fast one cannot be trusted,
scales each gradient by its largest element and multiplies float64.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tb_gradscope.recording.measure.arguments import (
    Layout,
    Part,
    concrete,
    layout_of,
    packed,
    part_of,
    signatures,
    unpacked,
)
from tb_gradscope.recording.measure.moments import is_small, together
from tb_gradscope.recording.measure.order import in_order
from tb_gradscope.recording.measure.products import Rows, from_products, spread, vectors
from tb_gradscope.recording.store.description import ABSENT_MARK

MOST_COMPARED = 15
"""How many other losses one is compared with at most."""

# Beyond these, float32 squares may have overflowed or lost their digits.
_SAFE_MAX, _SAFE_MIN = 1e36, 1e-30

Column = list[Part | None]
"""The gradients of one variable, one for each loss."""


def cosines(gradients: Sequence[Sequence[Any]], found: Sequence[Any], of_last: bool = False) -> Any:
    """Returns the cosines between every two losses, eagerly or in a graph.

    Args:
      gradients: for each loss a tensor, IndexedSlices or None for each source.
      found: the sources.
      of_last: between the last loss and the others.

    Returns:
      float32 `[variable, loss, loss]`, or `[variable, other loss]`; `ABSENT_MARK` where
      one of the two has no gradient, NaN where one is zero or not finite.
    """
    columns: list[Column] = [
        [part_of(gradient, source) for gradient in of_source]
        for *of_source, source in zip(*gradients, found, strict=True)
    ]
    if not tf.executing_eagerly():
        return _cosines(columns, of_last)
    # One call of a compiled function rather than hundreds of eager operations.
    layout = tuple(layout_of(column) for column in columns)
    return _compiled(layout, of_last)(*itertools.chain.from_iterable(map(packed, columns)))


@functools.lru_cache(maxsize=256)
def _compiled(layout: tuple[Layout, ...], of_last: bool) -> Any:
    """Returns `_cosines` for gradients of these kinds and dtypes, whatever their shapes."""

    def function(*arguments: Any) -> Any:
        left = iter(arguments)
        return _cosines([unpacked(one, left) for one in layout], of_last)

    return concrete(function, [spec for one in layout for spec in signatures(one)])


def _cosines(columns: list[Column], of_last: bool) -> Any:
    there = np.array([[part is not None for part in column] for column in columns])
    there &= there.sum(1, keepdims=True) > 1
    is_pair = there[:, :, None] & there[:, None, :]
    shared = np.flatnonzero(there.any(1))
    if not len(shared):
        return tf.fill((is_pair[:, -1, :-1] if of_last else is_pair).shape, np.float32(ABSENT_MARK))
    between = _of_shared([columns[index] for index in shared], there[shared], of_last)
    # What rounding has put beyond is brought back; a NaN stays.
    between = tf.where(tf.abs(between) > 1, tf.sign(between), between)
    if len(shared) < len(columns):
        row = np.full(len(columns), len(shared), np.int32)
        row[shared] = np.arange(len(shared))
        between = tf.gather(tf.pad(between, [[0, 1], [0, 0], [0, 0]]), row)
    between = tf.where(is_pair, between, np.float32(ABSENT_MARK))
    return between[:, -1, :-1] if of_last else between


def _of_shared(columns: list[Column], there: Any, of_last: bool) -> Any:
    """Returns float32 `[variable, loss, loss]`; anything where one has no gradient."""
    are_small = np.array([_are_small(column) for column in columns])
    rows = _rows([columns[i] for i in np.flatnonzero(are_small)]) if are_small.any() else None
    others = np.flatnonzero(~are_small)
    positions = [*np.flatnonzero(are_small), *others]

    def together_again(of_small: Any, of_others: list[Any]) -> Any:
        groups = [] if of_small is None else [of_small]
        groups += [
            spread(one, there[index])[None] for index, one in zip(others, of_others, strict=True)
        ]
        return in_order(groups, positions)

    products = together_again(
        rows and rows.products(),
        [vectors(_present(columns[index]), tf.float32).products(of_last) for index in others],
    )
    own = tf.linalg.diag_part(products)
    trusted = ~there | ((own > _SAFE_MIN) & (own < _SAFE_MAX))

    def fast() -> Any:
        length = tf.sqrt(tf.where(there, own, 1))
        return products / (length[:, :, None] * length[:, None, :])

    def careful() -> Any:
        return together_again(
            rows and rows.careful_cosines(), [_carefully(columns[index]) for index in others]
        )

    return tf.cond(tf.reduce_all(trusted), fast, careful)


def _are_small(column: Column) -> bool:
    return all(part.kind == "dense" and is_small(part.arguments[0]) for part in _present(column))


def _rows(columns: list[Column]) -> Rows:
    of_losses = []
    for of_loss in zip(*columns, strict=True):
        tensors = [
            tf.zeros(_present(column)[0].arguments[0].shape) if part is None else part.arguments[0]
            for part, column in zip(of_loss, columns, strict=True)
        ]
        rows, owners, count = together(tensors)
        of_losses.append(rows)
    return Rows(tf.stack(of_losses, 1), owners, count)


def _present(column: Column) -> list[Part]:
    return [part for part in column if part is not None]


def _carefully(column: Column) -> Any:
    parts = _present(column)
    return _careful(layout_of(parts))(*packed(parts))


@functools.lru_cache(maxsize=256)
def _careful(layout: Layout) -> Any:
    def function(*arguments: Any) -> Any:
        parts = _present(unpacked(layout, iter(arguments)))
        return from_products(vectors(parts, tf.float64).scaled().products())

    return concrete(function, signatures(layout), inline=False)
