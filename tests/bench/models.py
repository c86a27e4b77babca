"""The trainings that are measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

# Keys of variants.
_ORDINARY = "plain again off never sentinel every100 every10 every1 scalars histograms"
ALL = tuple(_ORDINARY.split())
COMPILED = ("plain", "again", "off", "sentinel", "every10", "every1")
OURS = (*COMPILED, "scalars")
OF_OPTIMIZER = ("optimizer_sentinel", "optimizer10", "optimizer1")
WITH_OPTIMIZER = (*ALL[:3], "optimizer_off", *ALL[3:], *OF_OPTIMIZER)
FIT = ("plain", "again", "callback_sentinel", "callback10", "callback1")

_SEED = 7
_CLASSES = 10


@dataclasses.dataclass(frozen=True)
class Training:
    """One training, freshly made.

    Attributes:
      variables: what is trained, `tf.Variable`s or those of Keras.
      loss: the forward pass, from one batch to a scalar; or to a list, of which each is
        differentiated alone, and the sum of the gradients is applied; or to a dict, the
        parts of a sum.
      optimizer: of Keras, built.
      batch: what every step trains on.
      model: of Keras, for `model.fit`.
    """

    variables: list[Any]
    loss: Callable[..., Any]
    optimizer: Any
    batch: tuple[Any, ...]
    model: Any = None


@dataclasses.dataclass(frozen=True)
class Model:
    """What is measured, and how long.

    Attributes:
      title: what it is, for people.
      make: returns a fresh training, the same one every time.
      block: steps of one variant before the next one's turn.
      rounds: how often every variant has its turn.
      way: "graph", "eager", "xla" or "fit": how a step is run.
      variants: keys of the rows.
      losses: how many there are.
    """

    title: str
    make: Callable[[], Training]
    block: int
    rounds: int
    way: str = "graph"
    variants: tuple[str, ...] = ALL
    losses: int = 1


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

    return Training(model.trainable_variables, loss, optimizer, (images, labels), model)


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


def _heads(count: int, *, are_parts: bool = False) -> Callable[[], Training]:
    """A trunk with so many heads, a loss for each, or a part of one total."""

    def make() -> Training:
        dense = keras.layers.Dense
        trunk = keras.Sequential([keras.Input([784]), dense(512, "relu"), dense(512, "relu")])
        heads = [keras.Sequential([keras.Input([512]), dense(_CLASSES)]) for _ in range(count)]
        images = tf.random.normal([256, 784])
        labels = tf.random.uniform([count, 256], 0, _CLASSES, tf.int32)

        def losses(images: Any, labels: Any) -> Any:
            hidden = trunk(images, training=True)
            each = {
                f"head_{index}": _cross_entropy(labels[index], head(hidden, training=True))
                for index, head in enumerate(heads)
            }
            return each if are_parts else list(each.values())

        variables = [v for part in (trunk, *heads) for v in part.trainable_variables]
        return Training(variables, losses, keras.optimizers.Adam(), (images, labels))

    return make


def _wide(width: int, layers: int) -> Callable[[], Training]:
    """Square layers: how the cost grows with the gradients."""

    def make() -> Training:
        dense = keras.layers.Dense
        hidden = [dense(width, "relu") for _ in range(layers)]
        model = keras.Sequential([keras.Input([width]), *hidden, dense(_CLASSES)])
        optimizer = keras.optimizers.SGD(0.01)
        return _classifier(model, optimizer, tf.random.normal([32, width]))

    return make


MODELS = {
    "mlp": Model("MLP, Adam", _seeded(_mlp), 50, 15, variants=WITH_OPTIMIZER),
    "transformer": Model("transformer, 2 blocks, Adam", _seeded(_transformer), 30, 10),
    "mobilenet": Model("MobileNetV2, SGD with momentum", _seeded(_mobilenet), 10, 8),
    "embedding": Model("embedding 50,000 x 64 (IndexedSlices), SGD", _seeded(_embedding), 100, 12),
    "mlp_eager": Model("MLP, Adam, eager", _seeded(_mlp), 20, 10, "eager", OURS),
    "mlp_xla": Model("MLP, Adam, jit_compile=True", _seeded(_mlp), 50, 10, "xla", COMPILED),
    "mlp_fit": Model("MLP, Adam, model.fit", _seeded(_mlp), 200, 4, "fit", FIT),
    "parts2": Model(
        "two parts of a sum, Adam", _seeded(_heads(2, are_parts=True)), 20, 10, "graph", OURS
    ),
    "losses2": Model("two losses on one MLP, Adam", _seeded(_heads(2)), 20, 10, "graph", OURS, 2),
    "losses8": Model("eight losses on one MLP, Adam", _seeded(_heads(8)), 10, 8, "graph", OURS, 8),
    "1m": Model("1 million parameters, SGD", _seeded(_wide(500, 4)), 50, 10, variants=OURS),
    "10m": Model("10 million parameters, SGD", _seeded(_wide(1580, 4)), 20, 10, variants=OURS),
    "100m": Model("100 million parameters, SGD", _seeded(_wide(5000, 4)), 10, 4, variants=OURS),
}
