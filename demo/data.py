"""Real data that ships with scikit-learn: nothing is downloaded."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import tensorflow as tf
from sklearn import datasets


def batches(steps: int, size: int, *arrays: Any) -> list[tuple[Any, ...]]:
    """Draws batches of rows, the same ones every time.

    Args:
      steps: how many.
      size: rows of each.
      arrays: equally long.

    Returns:
      For each step a tuple of tensors, one of each array.
    """
    random = np.random.default_rng(0)
    rows = random.integers(len(arrays[0]), size=(steps, size))
    return [tuple(tf.constant(array[chosen]) for array in arrays) for chosen in rows]


@functools.cache
def digits() -> tuple[Any, Any]:
    """Returns 1,797 handwritten digits, float32 `[image, 64]` from 0 to 1, and their labels."""
    images, labels = datasets.load_digits(return_X_y=True)
    return (images / 16).astype(np.float32), labels.astype(np.int32)


@functools.cache
def diabetes() -> tuple[Any, Any]:
    """Returns measurements of 442 patients, and how their disease progressed in a year.

    Both float32 with mean 0 and deviation 1: `[patient, 4]`, which are body mass
    index, blood pressure, HDL and triglycerides; and `[patient, 1]`.
    """
    found = datasets.load_diabetes(as_frame=False)
    columns = [found.feature_names.index(name) for name in ("bmi", "bp", "s3", "s5")]
    measured, progress = found.data[:, columns], found.target[:, None]
    return _standard(measured), _standard(progress)


@functools.cache
def text() -> tuple[Any, str]:
    """Returns English prose as a sequence of letters, and the alphabet.

    It is what scikit-learn says about its data sets: some 15,000 letters, as
    int32 positions in the alphabet.
    """
    names = ("digits", "iris", "wine", "breast_cancer", "diabetes", "linnerud")
    prose = "\n".join(getattr(datasets, f"load_{name}")().DESCR for name in names)
    alphabet = "".join(sorted(set(prose)))
    return np.array([alphabet.index(letter) for letter in prose], np.int32), alphabet


def _standard(columns: Any) -> Any:
    return ((columns - columns.mean(0)) / columns.std(0)).astype(np.float32)
