"""TensorFlow's own functions under our names, to put in the place of `gs` in a demo."""

from __future__ import annotations

import contextlib
import types

import keras
import tensorflow as tf


def clip_by_norm(t, clip_norm, *, variables):
    return tf.clip_by_norm(t, clip_norm)


def clip_by_global_norm(t_list, clip_norm, *, variables):
    return tf.clip_by_global_norm(t_list, clip_norm)


def record(logdir):
    return contextlib.nullcontext()


def watch_optimizer(optimizer, *, name):
    return optimizer


def keras_callback(log_dir, every):
    return keras.callbacks.Callback()


PLAIN = types.SimpleNamespace(
    GradientTape=tf.GradientTape,
    KerasCallback=keras_callback,
    clip_by_global_norm=clip_by_global_norm,
    clip_by_norm=clip_by_norm,
    record=record,
    watch_optimizer=watch_optimizer,
)


class NudgedTape(tf.GradientTape):
    """Gives the first gradient asked for one unit in the last place too much."""

    def gradient(self, target, sources, **options):
        first, *others = super().gradient(target, sources, **options)
        if isinstance(first, tf.Tensor):
            first = tf.bitcast(tf.bitcast(first, tf.int32) + 1, tf.float32)
        return [first, *others]


NUDGED = types.SimpleNamespace(**{**vars(PLAIN), "GradientTape": NudgedTape})
