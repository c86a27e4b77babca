"""Programs as Keras' own guides have them, each recorded by one more callback."""

from __future__ import annotations

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import tb_gradscope as gs
from tests.recording.keras.models import bits

pytestmark = pytest.mark.slow


@pytest.fixture
def train(tmp_path):
    """Trains a program twice; returns what the callback recorded, once both came to the same."""

    def run(program, every=1):
        keras.utils.set_random_seed(0)
        without = program([])
        keras.utils.set_random_seed(0)
        with warnings.catch_warnings():
            warnings.simplefilter("error", gs.GradscopeWarning)
            callback = gs.KerasCallback(tmp_path, every=every, on_error="raise")
            model = program([callback])
        assert bits(model) == bits(without)
        return gs.load(tmp_path).runs["train"]

    return run


def reached(run):
    """Which losses reach which variables, by name."""
    names = [variable.name for variable in run.variables]
    return {
        loss.name: {
            names[variable]
            for variable, norm in zip(loss.variables, loss.values[-1, :, 1], strict=True)
            if not np.isnan(norm)
        }
        for loss in run.losses
    }


def numbers(*shape):
    return np.random.default_rng(0).random(shape).astype(np.float32)


# keras.io/guides/custom_train_step_in_tensorflow


def test_a_first_simple_example(train):
    class CustomModel(keras.Model):
        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                y_pred = self(x, training=True)
                loss = self.compute_loss(y=y, y_pred=y_pred)
            trainable_vars = self.trainable_variables
            gradients = tape.gradient(loss, trainable_vars)
            self.optimizer.apply(gradients, trainable_vars)
            for metric in self.metrics:
                if metric.name == "loss":
                    metric.update_state(loss)
                else:
                    metric.update_state(y, y_pred)
            return {m.name: m.result() for m in self.metrics}

    def program(callbacks):
        inputs = keras.Input(shape=(32,))
        model = CustomModel(inputs, keras.layers.Dense(1, name="only")(inputs))
        model.compile(optimizer="adam", loss="mse", metrics=["mae"])
        model.fit(numbers(96, 32), numbers(96, 1), epochs=3, verbose=0, callbacks=callbacks)
        return model

    run = train(program)
    assert reached(run) == {"loss": {"only/kernel", "only/bias"}}
    assert run.losses[0].where.code == "gradients = tape.gradient(loss, trainable_vars)"
    assert run.losses[0].steps.tolist() == list(range(9))


def test_going_lower_level_with_sample_weights(train):
    loss_fn = keras.losses.MeanSquaredError()

    class CustomModel(keras.Model):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.loss_tracker = keras.metrics.Mean(name="loss")
            self.loss_fn = loss_fn

        def train_step(self, data):
            x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
            with tf.GradientTape() as tape:
                y_pred = self(x, training=True)
                loss = self.loss_fn(y, y_pred, sample_weight=sample_weight)
            gradients = tape.gradient(loss, self.trainable_variables)
            self.optimizer.apply(gradients, self.trainable_variables)
            self.loss_tracker.update_state(loss)
            return {"loss": self.loss_tracker.result()}

        @property
        def metrics(self):
            return [self.loss_tracker]

    def program(callbacks):
        inputs = keras.Input(shape=(32,))
        model = CustomModel(inputs, keras.layers.Dense(1, name="only")(inputs))
        model.compile(optimizer="adam")
        options = {"sample_weight": numbers(64, 1), "verbose": 0, "callbacks": callbacks}
        model.fit(numbers(64, 32), numbers(64, 1), **options)
        return model

    assert reached(train(program)) == {"loss": {"only/kernel", "only/bias"}}


class GAN(keras.Model):
    def __init__(self, discriminator, generator, latent_dim):
        super().__init__()
        self.discriminator = discriminator
        self.generator = generator
        self.latent_dim = latent_dim
        self.d_loss_tracker = keras.metrics.Mean(name="d_loss")
        self.g_loss_tracker = keras.metrics.Mean(name="g_loss")
        self.seed_generator = keras.random.SeedGenerator(1337)
        self.built = True

    @property
    def metrics(self):
        return [self.d_loss_tracker, self.g_loss_tracker]

    def compile(self, d_optimizer, g_optimizer, loss_fn):
        super().compile()
        self.d_optimizer = d_optimizer
        self.g_optimizer = g_optimizer
        self.loss_fn = loss_fn

    def train_step(self, real_images):
        if isinstance(real_images, tuple):
            real_images = real_images[0]
        batch_size = tf.shape(real_images)[0]
        noise = keras.random.normal(shape=(batch_size, self.latent_dim), seed=self.seed_generator)
        generated_images = self.generator(noise)
        combined_images = tf.concat([generated_images, real_images], axis=0)
        labels = tf.concat([tf.ones((batch_size, 1)), tf.zeros((batch_size, 1))], axis=0)
        labels += 0.05 * keras.random.uniform(tf.shape(labels), seed=self.seed_generator)

        with tf.GradientTape() as tape:
            predictions = self.discriminator(combined_images)
            d_loss = self.loss_fn(labels, predictions)
        grads = tape.gradient(d_loss, self.discriminator.trainable_weights)
        self.d_optimizer.apply(grads, self.discriminator.trainable_weights)

        noise = keras.random.normal(shape=(batch_size, self.latent_dim), seed=self.seed_generator)
        misleading_labels = tf.zeros((batch_size, 1))
        with tf.GradientTape() as tape:
            predictions = self.discriminator(self.generator(noise))
            g_loss = self.loss_fn(misleading_labels, predictions)
        grads = tape.gradient(g_loss, self.generator.trainable_weights)
        self.g_optimizer.apply(grads, self.generator.trainable_weights)

        self.d_loss_tracker.update_state(d_loss)
        self.g_loss_tracker.update_state(g_loss)
        return {"d_loss": self.d_loss_tracker.result(), "g_loss": self.g_loss_tracker.result()}


def test_a_gan(train):
    def program(callbacks):
        discriminator = keras.Sequential(
            [
                keras.Input((8, 8, 1)),
                keras.layers.Conv2D(4, 3, strides=2, padding="same", name="look"),
                keras.layers.LeakyReLU(negative_slope=0.2),
                keras.layers.GlobalMaxPooling2D(),
                keras.layers.Dense(1, name="judge"),
            ],
            name="discriminator",
        )
        generator = keras.Sequential(
            [
                keras.Input((6,)),
                keras.layers.Dense(4 * 4 * 2, name="seed"),
                keras.layers.LeakyReLU(negative_slope=0.2),
                keras.layers.Reshape((4, 4, 2)),
                keras.layers.Conv2DTranspose(1, 4, strides=2, padding="same", name="paint"),
            ],
            name="generator",
        )
        gan = GAN(discriminator, generator, latent_dim=6)
        gan.compile(
            d_optimizer=keras.optimizers.Adam(0.0003),
            g_optimizer=keras.optimizers.Adam(0.0003),
            loss_fn=keras.losses.BinaryCrossentropy(from_logits=True),
        )
        images = tf.data.Dataset.from_tensor_slices(numbers(40, 8, 8, 1)).batch(16)  # a ragged end
        gan.fit(images, epochs=2, verbose=0, callbacks=callbacks)
        return gan

    run = train(program)
    assert reached(run) == {
        "d_loss": {
            f"discriminator/{v}" for v in ("look/kernel", "look/bias", "judge/kernel", "judge/bias")
        },
        "g_loss": {
            f"generator/{v}" for v in ("seed/kernel", "seed/bias", "paint/kernel", "paint/bias")
        },
    }
    assert {tuple(loss.steps) for loss in run.losses} == {tuple(range(6))}


# keras.io/examples/generative/vae


class Sampling(keras.layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(1337)

    def call(self, inputs):
        z_mean, z_log_var = inputs
        epsilon = keras.random.normal(shape=tf.shape(z_mean), seed=self.seed_generator)
        return z_mean + tf.exp(0.5 * z_log_var) * epsilon


def encoder_and_decoder():
    inputs = keras.Input((12,))
    hidden = keras.layers.Dense(8, activation="relu", name="encode")(inputs)
    z_mean = keras.layers.Dense(2, name="z_mean")(hidden)
    z_log_var = keras.layers.Dense(2, name="z_log_var")(hidden)
    encoder = keras.Model(inputs, [z_mean, z_log_var, Sampling()([z_mean, z_log_var])])
    decoder = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(12, activation="sigmoid", name="decode")]
    )
    return encoder, decoder


def test_a_vae_with_trackers(train):
    class VAE(keras.Model):
        def __init__(self, encoder, decoder):
            super().__init__()
            self.encoder = encoder
            self.decoder = decoder
            self.total_loss_tracker = keras.metrics.Mean(name="total_loss")
            self.kl_loss_tracker = keras.metrics.Mean(name="kl_loss")

        @property
        def metrics(self):
            return [self.total_loss_tracker, self.kl_loss_tracker]

        def train_step(self, data):
            with gs.GradientTape() as tape:  # was tf.GradientTape
                z_mean, z_log_var, z = self.encoder(data)
                reconstruction = self.decoder(z)
                reconstruction_loss = tf.reduce_mean(
                    tf.reduce_sum(
                        keras.losses.binary_crossentropy(data, reconstruction)[:, None], 1
                    )
                )
                kl = -0.5 * (1 + z_log_var - tf.square(z_mean) - tf.exp(z_log_var))
                kl_loss = tf.reduce_mean(tf.reduce_sum(kl, axis=1))
                total_loss = reconstruction_loss + kl_loss
            tape.losses(reconstruction_loss=reconstruction_loss, kl_loss=kl_loss)
            grads = tape.gradient(total_loss, self.trainable_weights)
            self.optimizer.apply_gradients(zip(grads, self.trainable_weights, strict=True))
            self.total_loss_tracker.update_state(total_loss)
            self.kl_loss_tracker.update_state(kl_loss)
            return {"loss": self.total_loss_tracker.result()}

    def program(callbacks):
        vae = VAE(*encoder_and_decoder())
        vae.compile(optimizer=keras.optimizers.Adam())
        data = tf.data.Dataset.from_tensor_slices(numbers(48, 12)).batch(16)
        vae.fit(data, verbose=0, callbacks=callbacks)
        return vae

    with pytest.MonkeyPatch.context() as plain:
        # Without a recording, ours is TensorFlow's tape, and says that it records nowhere.
        plain.setattr("tb_gradscope.recording.store.destination.say_once", lambda text: None)
        found = reached(train(program))
    coded = {"encode/kernel", "encode/bias"} | {
        f"{layer}/{v}" for layer in ("z_mean", "z_log_var") for v in ("kernel", "bias")
    }
    assert found["kl_loss"] == coded
    decoded = found["total_loss"] - coded
    assert {name.rpartition("decode/")[2] for name in decoded} == {"kernel", "bias"}
    assert found["reconstruction_loss"] == coded | decoded


def test_a_vae_with_add_loss(train):
    class KL(keras.layers.Layer):
        def call(self, inputs):
            z_mean, z_log_var = inputs
            kl = -0.5 * (1 + z_log_var - tf.square(z_mean) - tf.exp(z_log_var))
            self.add_loss(tf.reduce_mean(kl))
            return z_mean

    class VAE(keras.Model):
        def __init__(self):
            super().__init__()
            self.encoder, self.decoder = encoder_and_decoder()
            self.kl = KL()

        def call(self, inputs):
            z_mean, z_log_var, z = self.encoder(inputs)
            self.kl([z_mean, z_log_var])
            return self.decoder(z)

    def program(callbacks):
        vae = VAE()
        vae.compile(optimizer="adam", loss="binary_crossentropy")
        x = numbers(48, 12)
        vae.fit(x, x, verbose=0, batch_size=16, callbacks=callbacks)
        return vae

    found = reached(train(program))
    (reconstruction,) = found.keys() - {"loss", "add_loss"}
    assert reconstruction.endswith("_loss")
    assert found["loss"] == found[reconstruction]
    assert {name.rpartition("decode/")[2] for name in found["loss"] - found["add_loss"]} == {
        "kernel",
        "bias",
    }


# keras.io/guides/functional_api


def test_a_model_of_two_inputs_and_two_outputs(train):
    def program(callbacks):
        title = keras.Input(shape=(None,), name="title")
        tags = keras.Input(shape=(4,), name="tags")
        words = keras.layers.Embedding(20, 6, name="words")(title)
        features = keras.layers.LSTM(5, name="read")(words)
        x = keras.layers.concatenate([features, tags])
        priority = keras.layers.Dense(1, name="priority")(x)
        department = keras.layers.Dense(3, name="department")(x)
        model = keras.Model(
            inputs=[title, tags], outputs={"priority": priority, "department": department}
        )
        model.compile(
            optimizer=keras.optimizers.RMSprop(1e-3),
            loss={
                "priority": keras.losses.BinaryCrossentropy(from_logits=True),
                "department": keras.losses.CategoricalCrossentropy(from_logits=True),
            },
            loss_weights={"priority": 1.0, "department": 0.2},
        )
        random = np.random.default_rng(0)
        model.fit(
            {"title": random.integers(20, size=(48, 7)), "tags": numbers(48, 4)},
            {
                "priority": random.integers(2, size=(48, 1)),
                "department": np.eye(3)[random.integers(3, size=48)],
            },
            epochs=2,
            batch_size=16,
            verbose=0,
            callbacks=callbacks,
        )
        return model

    found = reached(train(program))
    assert found.keys() == {"loss", "priority_loss", "department_loss"}
    assert found["priority_loss"] & found["department_loss"] == {
        "words/embeddings",
        *(f"read/lstm_cell/{name}" for name in ("kernel", "recurrent_kernel", "bias")),
    }


# keras.io/api/layers/regularizers


def test_a_sequential_with_regularizers(train):
    def program(callbacks):
        model = keras.Sequential(
            [
                keras.layers.Dense(
                    6,
                    kernel_regularizer=keras.regularizers.L1L2(l1=1e-5, l2=1e-4),
                    bias_regularizer=keras.regularizers.L2(1e-4),
                    activity_regularizer=keras.regularizers.L2(1e-5),
                    name="kept_small",
                ),
                keras.layers.LayerNormalization(name="normal"),
                keras.layers.Dense(1, name="out"),
            ]
        )
        model.compile(keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True), "mse")
        options = {"epochs": 2, "batch_size": 16, "verbose": 0, "callbacks": callbacks}
        model.fit(numbers(48, 5), numbers(48, 1), **options)
        return model

    found = reached(train(program))
    small = {name for name in found["loss"] if "kept_small" in name}
    assert found["regularization"] == small
    assert found["add_loss"] == small  # of the activity
    assert len(found["loss"]) == 6


# keras.io/guides/making_new_layers_and_models_via_subclassing


def test_a_subclass_whose_layers_make_their_weights_in_build(train):
    class Linear(keras.layers.Layer):
        def __init__(self, units):
            super().__init__()
            self.units = units

        def build(self, input_shape):
            shape = (input_shape[-1], self.units)
            self.w = self.add_weight(shape=shape, initializer="random_normal", name="w")
            self.b = self.add_weight(shape=(self.units,), initializer="zeros", name="b")

        def call(self, inputs):
            return tf.matmul(inputs, self.w) + self.b

    class MLP(keras.Model):
        def __init__(self):
            super().__init__()
            self.first = Linear(6)
            self.second = Linear(1)
            self.never = Linear(1)

        def call(self, inputs):
            hidden = tf.nn.relu(self.first(inputs))
            self.never(hidden)
            return self.second(hidden)

    def program(callbacks):
        model = MLP()
        model.compile("adam", "mse")
        options = {"epochs": 2, "batch_size": 16, "verbose": 0, "callbacks": callbacks}
        model.fit(numbers(48, 5), numbers(48, 1), **options)
        return model

    run = train(program)
    every = {variable.name for variable in run.variables}
    assert len(every) == 6
    assert len(every - reached(run)["loss"]) == 2  # those of `never`
