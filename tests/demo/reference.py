"""The first step of some demos, computed again: float64 NumPy, derivatives by hand."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import tensorflow as tf

from demo import data, vae, vanishing


def norm(*parts):
    return float(np.sqrt(sum(np.sum(np.square(part)) for part in parts)))


def two_losses():
    """Gradients of the two regressions by (loss, weights), at the start."""
    keras.utils.set_random_seed(1)
    w1 = tf.random.normal((2, 1)).numpy().astype(np.float64)
    w2 = tf.random.normal((3, 1)).numpy().astype(np.float64)
    ((x, y),) = (
        (x.numpy().astype(np.float64), y.numpy().astype(np.float64))
        for x, y in data.batches(1, 32, *data.diabetes())
    )
    inputs1 = x[:, :2]
    first = inputs1 @ w1
    inputs2 = np.concatenate([x[:, 2:], first], axis=1)
    second = inputs2 @ w2
    slope1, slope2 = 2 * (first - y) / len(y), 2 * (second - y) / len(y)
    return {
        ("loss1", "w1"): inputs1.T @ slope1,
        ("loss2", "w1"): inputs1.T @ (slope2 * w2[2]),
        ("loss2", "w2"): inputs2.T @ slope2,
    }


def kl_at_the_code():
    """Gradient of the VAE's `kl` for the bias that makes the code, at the start.

    kl is the mean over images of the sum of (exp(v) + m^2 - 1 - v) / 2, where the
    means m and the log variances v are what this bias is added to.
    """
    keras.utils.set_random_seed(1)
    kernel1, bias1, kernel2, bias2 = (
        weight.numpy().astype(np.float64) for weight in vae.make_encoder().trainable_variables
    )
    ((images,),) = data.batches(1, 64, data.digits()[0])
    hidden = np.maximum(images.numpy().astype(np.float64) @ kernel1 + bias1, 0)
    mean, log_variance = np.split(hidden @ kernel2 + bias2, 2, axis=1)
    return np.concatenate([mean.mean(0), ((np.exp(log_variance) - 1) / 2).mean(0)])


def sigmoid_stack():
    """Gradients of the deep stack's kernels and biases, first layer first, at the start."""
    keras.utils.set_random_seed(1)
    # A layer draws its kernel when it is built: the hidden ones in order, then the logits.
    sizes = [64, *[vanishing.UNITS] * vanishing.LAYERS, 10]
    kernels = [
        keras.initializers.GlorotUniform()((rows, columns)).numpy().astype(np.float64)
        for rows, columns in itertools.pairwise(sizes)
    ]
    ((images, labels),) = data.batches(1, 64, *data.digits())
    layers = [images.numpy().astype(np.float64)]
    for kernel in kernels[:-1]:
        layers.append(1 / (1 + np.exp(-layers[-1] @ kernel)))
    logits = layers[-1] @ kernels[-1]
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    slope = (chances - np.eye(10)[labels.numpy()]) / len(images)
    found = []
    for kernel, inputs in zip(kernels[::-1], layers[::-1], strict=True):
        found = [inputs.T @ slope, slope.sum(axis=0), *found]
        slope = (slope @ kernel.T) * inputs * (1 - inputs)
    return found
