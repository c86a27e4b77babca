"""Scalar products between the gradients that several losses have of one variable.

Nothing is densified: of an IndexedSlices only those rows take part that some
loss touched, rows of the same index summed.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tb_gradscope.recording.measure.arguments import Part

# Elements that are multiplied and summed one after the other. In 25 million of them, float32
# loses 0.2 % of a product, and 2 % where XLA sums; sums of pieces keep six digits.
_PIECE = 4096
# Up to so many vectors, to multiply each two takes less time than to put them in one tensor.
_FEW = 3


@dataclasses.dataclass(frozen=True)
class Vectors:
    """The gradients of one variable as vectors of real numbers.

    Attributes:
      dense: `[element]` of each dense gradient; none where all are sparse.
      rows: `[element]` of each gradient, of the rows that some sparse one touched; none
        where all are dense.
      is_dense: bool `[gradient]`.
    """

    dense: list[Any]
    rows: list[Any]
    is_dense: npt.NDArray[np.bool_]

    def products(self, of_last: bool = False) -> Any:
        """Returns the scalar product of every two, `[gradient, gradient]`.

        Args:
          of_last: of the last one with the others, and of each with itself, will do; the
            rest may be anything.
        """
        if not self.rows:
            return _products_of_last(self.dense) if of_last else _products(self.dense)
        touched = _products(self.rows)
        if not self.dense:
            return touched
        both = self.is_dense[:, None] & self.is_dense[None, :]
        return tf.where(both, spread(_products(self.dense), self.is_dense), touched)

    def scaled(self) -> Vectors:
        """Returns them divided by their largest elements; what is zero or infinite becomes NaN."""
        left = iter(self.dense)
        # A dense gradient may have its largest element in a row that is not touched.
        largest = [
            _largest(next(left) if is_dense else self.rows[index])
            for index, is_dense in enumerate(self.is_dense)
        ]
        of_dense = [each for each, is_dense in zip(largest, self.is_dense, strict=True) if is_dense]
        return Vectors(
            [one / size for one, size in zip(self.dense, of_dense, strict=True)],
            [one / size for one, size in zip(self.rows, largest, strict=False)],
            self.is_dense,
        )


@dataclasses.dataclass(frozen=True)
class Rows:
    """The gradients of many small variables, all dense.

    Attributes:
      rows: float32 `[row, loss, width]`, each variable begins a row of its own.
      owners: the variable that each row is of, int32 `[row]`.
      count: of variables.
    """

    rows: Any
    owners: Any
    count: int

    def products(self) -> Any:
        """Returns the scalar products, `[variable, loss, loss]`."""
        return self._products(self.rows)

    def careful_cosines(self) -> Any:
        """Returns the cosines in float64 of scaled values; NaN where one is zero or not finite."""
        rows = tf.cast(self.rows, tf.float64)
        largest = tf.math.unsorted_segment_max(
            tf.reduce_max(tf.abs(rows), 2), self.owners, self.count
        )
        return from_products(self._products(rows / tf.gather(largest, self.owners)[:, :, None]))

    def _products(self, rows: Any) -> Any:
        # Not matmul: some devices round its operands, which shows in few elements.
        products = tf.reduce_sum(rows[:, :, None, :] * rows[:, None, :, :], -1)
        return tf.math.unsorted_segment_sum(products, self.owners, self.count)


def from_products(products: Any) -> Any:
    """Returns float32 cosines out of scalar products, `[..., loss, loss]` both."""
    length = tf.sqrt(tf.linalg.diag_part(products))
    return tf.cast(products / (length[..., :, None] * length[..., None, :]), tf.float32)


def vectors(parts: list[Part], dtype: Any) -> Vectors:
    """Returns the gradients of one variable as vectors of `dtype`."""
    is_dense = np.array([part.kind == "dense" for part in parts])
    dense = [_real(part.arguments[0], dtype) for part in parts if part.kind == "dense"]
    return Vectors(
        [tf.reshape(one, [-1]) for one in dense],
        [] if is_dense.all() else _touched_rows(parts, dtype),
        is_dense,
    )


def _product(one: Any, two: Any) -> Any:
    return tf.reduce_sum(one * two)


def _products_of_last(vectors: list[Any]) -> Any:
    """Returns the same as `_products`, zeros in place of what the last one has no part in."""
    own = tf.stack([2.0 * tf.nn.l2_loss(one) for one in vectors])
    crossed = [_product(one, vectors[-1]) for one in vectors[:-1]]
    last = tf.stack([*crossed, own[-1]])
    column = tf.concat([tf.zeros([len(vectors), len(vectors) - 1], own.dtype), last[:, None]], 1)
    return tf.linalg.set_diag(column + tf.transpose(column), own)


def _products(vectors: list[Any]) -> Any:
    """Returns the scalar product of every two vectors, `[vector, vector]`."""
    if len(vectors) <= _FEW:
        return tf.stack([tf.stack([_product(one, two) for two in vectors]) for one in vectors])
    whole = tf.size(vectors[0]) // _PIECE * _PIECE
    pieces = tf.stack([tf.reshape(one[:whole], [-1, _PIECE]) for one in vectors], 1)
    rest = tf.stack([one[whole:] for one in vectors])
    of_pieces = tf.reduce_sum(tf.matmul(pieces, pieces, transpose_b=True), 0)
    return of_pieces + tf.matmul(rest, rest, transpose_b=True)


def spread(matrix: Any, there: npt.NDArray[np.bool_]) -> Any:
    """Puts zeros between the rows and columns of a square matrix, where `there` is not set."""
    if there.all():
        return matrix
    position = np.where(there, np.cumsum(there) - 1, there.sum()).astype(np.int32)
    padded = tf.pad(matrix, [[0, 1], [0, 1]])
    return tf.gather(tf.gather(padded, position), position, axis=1)


def _touched_rows(parts: list[Part], dtype: Any) -> list[Any]:
    indices = [part.arguments[1] for part in parts if part.kind == "sparse"]
    every = tf.concat(indices, 0)
    count = tf.shape(every)[0]
    order = tf.argsort(every)
    ordered = tf.gather(every, order)
    fresh = tf.concat([tf.zeros([1], tf.int32), tf.cast(ordered[1:] != ordered[:-1], tf.int32)], 0)
    segment = tf.scatter_nd(order[:, None], tf.cumsum(fresh)[:count], count[None])
    # Segments left over belong to no row; what is sparse is zero there.
    row = tf.maximum(tf.math.unsorted_segment_max(every, segment, count), 0)
    begin, rows = 0, []
    for part in parts:
        values = _real(part.arguments[0], dtype)
        if part.kind == "dense":
            touched = tf.gather(values, row)
        else:
            length = tf.shape(part.arguments[1])[0]
            touched = tf.math.unsorted_segment_sum(values, segment[begin : begin + length], count)
            begin += length
        rows.append(tf.reshape(touched, [-1]))
    return rows


def _real(tensor: Any, dtype: Any) -> Any:
    """Returns a tensor of the same rows in real numbers: of complex ones both parts."""
    if tensor.dtype.is_complex:
        tensor = tf.stack([tf.math.real(tensor), tf.math.imag(tensor)], -1)
    return tf.cast(tensor, dtype)


def _largest(vector: Any) -> Any:
    return tf.maximum(tf.reduce_max(tf.abs(vector)), 0)  # of nothing: -Inf
