"""Finding: `domination`. pixels_loss drowns digit_loss in the layers that both share.

A network that is to say which digit it sees, and to draw it again, trained by
`model.fit` with one callback more. Keras adds the two losses up. The one over
pixels is in grey levels from 0 to 255 and summed over the images of a batch, so
that in `shared` its gradient is more than a thousand times that of `digit_loss`:
what the network learns there is to draw. Each loss has a row of its own, though
the program asks for the gradient of their sum only.

Neither loss reaches the other one's head, which is as it should be. (The cure is
grey levels from 0 to 1 and a mean, or `loss_weights`.)
"""

from __future__ import annotations

from typing import Any

import keras

import tb_gradscope as gs
from demo.data import batches, digits

BATCH = 64


def make_model() -> Any:
    """An image to the digit that it shows, and to the image."""
    image = keras.Input((64,), name="image")
    shared = keras.layers.Dense(32, activation="relu", name="shared")(image)
    digit = keras.layers.Dense(10, activation="softmax", name="digit")(shared)
    pixels = keras.layers.Dense(64, name="pixels")(shared)
    return keras.Model(image, {"digit": digit, "pixels": pixels})


def train(logdir: str, steps: int) -> list[Any]:
    """Trains, records into `logdir` and returns the weights."""
    keras.utils.set_random_seed(1)
    model = make_model()
    model.compile(
        keras.optimizers.Adam(1e-3, name="adam"),
        {
            "digit": "sparse_categorical_crossentropy",
            "pixels": keras.losses.MeanSquaredError(reduction="sum"),
        },
    )
    drawn = (
        (images, {"digit": labels, "pixels": 255 * images})
        for images, labels in batches(steps, BATCH, *digits())
    )
    model.fit(
        drawn,
        steps_per_epoch=steps,
        shuffle=False,  # comes in random order already
        verbose=0,
        callbacks=[gs.KerasCallback(logdir, every="auto")],
    )
    return list(model.trainable_variables)
