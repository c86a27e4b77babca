"""What a training is whose findings are known beforehand, and the steps they share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

import tb_gradscope as gs


@dataclasses.dataclass(frozen=True)
class Expected:
    """A finding that must appear.

    Attributes:
      kind: of the finding.
      loss: its loss, None where it has none.
      variables: words, each in the name of at least one variable found.
      first: earliest and latest first step allowed, None for any.
      mark: the comment that ends the line to be named, "" where there is none.
    """

    kind: str
    loss: str | None = None
    variables: tuple[str, ...] = ()
    first: tuple[int, int] | None = None
    mark: str = "# <--"


@dataclasses.dataclass(frozen=True)
class Training:
    """A small real training.

    Attributes:
      run: trains so many steps; it is recorded by whoever calls it.
      steps: how many show what is to be seen.
      expected: findings, each of severity warning or worse unless `at_least` says
        less; empty for a healthy training, of which none above info may appear.
      reported: where people met it, or what it is like.
      by: what records it: "tape" for a program that says `gs`, "patch" for one that
        does not, "fit" for one that is given a `gs.KerasCallback` too.
      every: the cadence of its records.
    """

    run: Callable[..., None]
    steps: int
    expected: tuple[Expected, ...]
    reported: str
    by: Literal["tape", "patch", "fit"] = "tape"
    every: int | str = "auto"

    @property
    def name(self) -> str:
        return self.run.__name__


class Trainings(list[Training]):
    """Collects the trainings of a module."""

    def __call__(
        self, *expected: Expected, steps: int = 120, reported: str = "", **how: Any
    ) -> Any:
        def add(run: Callable[..., None]) -> Any:
            self.append(Training(run, steps, expected, reported, **how))
            return run

        return add


def images(steps: int, batch: int = 32, side: int = 8, seed: int = 0) -> Iterator[tuple[Any, Any]]:
    """Blobs in one of four corners, and which corner: learnable in a few steps."""
    random = np.random.default_rng(seed)
    for _ in range(steps):
        label = random.integers(0, 4, batch)
        x = random.normal(0, 0.3, (batch, side, side, 1)).astype(np.float32)
        half = side // 2
        for i, corner in enumerate(label):
            row, column = divmod(int(corner), 2)
            x[i, row * half : (row + 1) * half, column * half : (column + 1) * half] += 1
        yield tf.constant(x), tf.constant(label)


def rows(steps: int, batch: int = 32, width: int = 10, seed: int = 0) -> Iterator[tuple[Any, Any]]:
    """Rows of numbers and a smooth function of them, `[batch, 1]`."""
    random = np.random.default_rng(seed)
    weights = np.random.default_rng(7).normal(size=(width, 1))
    for _ in range(steps):
        x = random.normal(size=(batch, width))
        y = np.tanh(x @ weights) + 0.05 * random.normal(size=(batch, 1))
        yield tf.constant(x, tf.float32), tf.constant(y, tf.float32)


def tokens(
    steps: int, batch: int = 16, length: int = 12, vocabulary: int = 40, seed: int = 0
) -> Iterator[tuple[Any, Any]]:
    """Sequences that count upwards, and what follows each token."""
    random = np.random.default_rng(seed)
    for _ in range(steps):
        start = random.integers(0, vocabulary, (batch, 1))
        stride = random.integers(1, 3, (batch, 1))
        text = (start + stride * np.arange(length + 1)) % vocabulary
        yield tf.constant(text[:, :-1]), tf.constant(text[:, 1:])


def fit(
    model: Any,
    loss_of: Callable[[Any, Any], Any],
    optimizer: Any,
    data: Iterator[tuple[Any, Any]],
    *,
    clip: float | None = None,
) -> None:
    """The usual loop: one loss, one tape, one optimizer."""

    @tf.function
    def train_step(x: Any, y: Any) -> None:
        with gs.GradientTape() as tape:
            loss = loss_of(y, model(x, training=True))
        gradients = tape.gradient(loss, model.trainable_variables)  # <--
        if clip is not None:
            gradients, _ = gs.clip_by_global_norm(gradients, clip)  # <-- clip
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))

    for x, y in data:
        train_step(x, y)


def keras_fit(
    model: Any,
    loss: Any,
    optimizer: Any,
    data: Iterator[tuple[Any, Any]],
    callback: Any = None,
    **compiled: Any,
) -> None:
    """Keras' own loop, a batch of `data` to a step."""
    model.compile(optimizer, loss, **compiled)
    callbacks = [] if callback is None else [callback]
    batches = _Batches(list(data))
    model.fit(batches, shuffle=False, callbacks=callbacks, verbose=0)  # <-- fit


class _Batches(keras.utils.PyDataset):
    def __init__(self, batches: list[Any]) -> None:
        super().__init__()
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Any:
        return self.batches[index]


def mean_square(y: Any, predicted: Any) -> Any:
    """Mean squared error."""
    return tf.reduce_mean((predicted - y) ** 2)  # <-- loss


def cross_entropy(y: Any, logits: Any) -> Any:
    """Mean cross-entropy of logits."""
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits))
