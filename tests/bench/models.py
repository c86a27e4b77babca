"""The trainings that are measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

_SEED = 7
_CLASSES = 10


@dataclasses.dataclass(frozen=True)
class Training:
    """One training, freshly made.

    Attributes:
      variables: what is trained, `tf.Variable`s or those of Keras.
      loss: the forward pass, from one batch to a scalar.
      optimizer: of Keras, built.
      batch: what every step trains on.
    """

    variables: list[Any]
    loss: Callable[..., Any]
    optimizer: Any
    batch: tuple[Any, ...]


@dataclasses.dataclass(frozen=True)
class Model:
    """What is measured, and how long.

    Attributes:
      title: what it is, for people.
      make: returns a fresh training, the same one every time.
      block: steps of one variant before the next one's turn.
      rounds: how often every variant has its turn.
    """

    title: str
    make: Callable[[], Training]
    block: int
    rounds: int


def _seeded(make: Callable[[], Training]) -> Callable[[], Training]:
    def seeded() -> Training:
        keras.utils.set_random_seed(_SEED)
        training = make()
        training.optimizer.build(training.variables)
        return training

    return seeded


def _cross_entropy(labels: Any, logits: Any) -> Any:
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))


def _classifier(model: Any, optimizer: Any, images: Any) -> Training:
    labels = tf.random.uniform([len(images)], 0, _CLASSES, tf.int32)

    def loss(images: Any, labels: Any) -> Any:
        return _cross_entropy(labels, model(images, training=True))

    return Training(model.trainable_variables, loss, optimizer, (images, labels))


def _mlp() -> Training:
    dense = keras.layers.Dense
    model = keras.Sequential(
        [keras.Input([784]), dense(512, "relu"), dense(512, "relu"), dense(_CLASSES)]
    )
    return _classifier(model, keras.optimizers.Adam(), tf.random.normal([256, 784]))


def _transformer() -> Training:
    vocabulary, length, width, heads, blocks = 500, 32, 64, 4, 2
    dense, normal = keras.layers.Dense, keras.layers.LayerNormalization
    tokens = keras.Input([length], dtype="int32")
    hidden = keras.layers.Embedding(vocabulary, width)(tokens)
    for _ in range(blocks):
        before = normal()(hidden)
        attention = keras.layers.MultiHeadAttention(heads, width // heads)
        hidden = hidden + attention(before, before, use_causal_mask=True)
        hidden = hidden + dense(width)(dense(4 * width, "gelu")(normal()(hidden)))
    model = keras.Model(tokens, dense(vocabulary)(normal()(hidden)))
    text = tf.random.uniform([8, length + 1], 0, vocabulary, tf.int32)

    def loss(text: Any) -> Any:
        return _cross_entropy(text[:, 1:], model(text[:, :-1], training=True))

    return Training(model.trainable_variables, loss, keras.optimizers.Adam(), (text,))


def _mobilenet() -> Training:
    model = keras.applications.MobileNetV2(
        (64, 64, 3), weights=None, classes=_CLASSES, classifier_activation=None
    )
    optimizer = keras.optimizers.SGD(0.01, momentum=0.9)
    return _classifier(model, optimizer, tf.random.normal([8, 64, 64, 3]))


def _embedding() -> Training:
    rows, width, batch, length = 50_000, 64, 256, 20
    # SGD touches only the rows used. Adam rewrites the whole table in every step, next to
    # which nothing that we do would show.
    table = tf.Variable(0.05 * tf.random.normal([rows, width]), name="table")
    dense = keras.layers.Dense
    head = keras.Sequential(
        [keras.Input([width]), dense(256, "relu"), dense(256, "relu"), dense(_CLASSES)]
    )
    words = tf.random.uniform([batch, length], 0, rows, tf.int32)
    labels = tf.random.uniform([batch], 0, _CLASSES, tf.int32)

    def loss(words: Any, labels: Any) -> Any:
        pooled = tf.reduce_mean(tf.gather(table, words), axis=1)
        return _cross_entropy(labels, head(pooled, training=True))

    variables = [table, *head.trainable_variables]
    return Training(variables, loss, keras.optimizers.SGD(0.1), (words, labels))


MODELS = {
    "mlp": Model("MLP, Adam", _seeded(_mlp), 50, 30),
    "transformer": Model("transformer, 2 blocks, Adam", _seeded(_transformer), 30, 24),
    "mobilenet": Model("MobileNetV2, SGD with momentum", _seeded(_mobilenet), 10, 16),
    "embedding": Model("embedding 50,000 x 64 (IndexedSlices), SGD", _seeded(_embedding), 100, 30),
}
