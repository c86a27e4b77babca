"""Counts what TensorFlow executes, to show that a step not recorded computes nothing."""

from __future__ import annotations

import glob
import os
import re
import tempfile
from collections.abc import Callable

import tensorflow as tf

_KERNEL = re.compile(r"[^\s:]+:\w+")


def count_kernels(step: Callable[[], object]) -> int | None:
    """Returns how many kernels `step` executes, None where TensorFlow cannot tell."""
    try:
        from tensorflow.tsl.profiler.protobuf import xplane_pb2
    except ImportError:
        return None
    with tempfile.TemporaryDirectory() as directory:
        # Level 3 has the small kernels too.
        options = tf.profiler.experimental.ProfilerOptions(host_tracer_level=3)
        tf.profiler.experimental.start(directory, options)
        try:
            step()
        finally:
            tf.profiler.experimental.stop()
        count = 0
        for path in glob.glob(os.path.join(directory, "**", "*.xplane.pb"), recursive=True):
            with open(path, "rb") as file:
                space = xplane_pb2.XSpace.FromString(file.read())
            for plane in space.planes:
                names = {key: value.name for key, value in plane.event_metadata.items()}
                count += sum(
                    bool(_KERNEL.fullmatch(names[event.metadata_id]))
                    for line in plane.lines
                    for event in line.events
                )
    return count or None
