"""What TensorFlow executes in a step, and what of it takes long."""

from __future__ import annotations

import collections
import dataclasses
import glob
import os
import re
import tempfile
from collections.abc import Callable

import tensorflow as tf

_KERNEL = re.compile(r"[^\s:]+:\w+")
_NUMBER = re.compile(r"_\d+")
# Their time is that of what they call.
_CALLS = re.compile(r"(Stateful)?PartitionedCall|(Stateless)?(If|While|Case)|.*Map.*")


@dataclasses.dataclass(frozen=True)
class Executed:
    """Kernels of one name or type in one step.

    Attributes:
      type: of the operation.
      count: how many.
      microseconds: all of them together, whatever runs beside them.
    """

    type: str
    count: int
    microseconds: float


Profile = dict[str, Executed]
"""By the names of the operations in their graphs, without the numbers in them."""


def profile_of(step: Callable[[], object]) -> Profile:
    """Returns what `step` executes, nothing where TensorFlow cannot tell."""
    try:
        from tensorflow.tsl.profiler.protobuf import xplane_pb2
    except ImportError:
        return {}
    counts: collections.Counter[str] = collections.Counter()
    picoseconds: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory() as directory:
        # Level 3 has the small kernels too.
        options = tf.profiler.experimental.ProfilerOptions(host_tracer_level=3)
        tf.profiler.experimental.start(directory, options)
        try:
            step()
        finally:
            tf.profiler.experimental.stop()
        for path in glob.glob(os.path.join(directory, "**", "*.xplane.pb"), recursive=True):
            with open(path, "rb") as file:
                space = xplane_pb2.XSpace.FromString(file.read())
            for plane in space.planes:
                names = {key: value.name for key, value in plane.event_metadata.items()}
                for event in (event for line in plane.lines for event in line.events):
                    name = names[event.metadata_id]
                    if _KERNEL.fullmatch(name):
                        name = _NUMBER.sub("", name)  # sequential_2/dense_5 is of another model
                        counts[name] += 1
                        picoseconds[name] += event.duration_ps
    return {
        name: Executed(name.rpartition(":")[2], counts[name], picoseconds[name] / 1e6)
        for name in counts
    }


def count_kernels(step: Callable[[], object]) -> int | None:
    """Returns how many kernels `step` executes, None where TensorFlow cannot tell."""
    return sum(each.count for each in profile_of(step).values()) or None


def beyond(plain: Profile, own: Profile) -> list[Executed]:
    """Returns what a step executes more than a plain one, by type, the longest first."""
    found: dict[str, Executed] = {}
    for name, executed in own.items():
        kind = executed.type
        more = executed.count - (plain[name].count if name in plain else 0)
        if more <= 0 or _CALLS.fullmatch(kind):
            continue
        before = found.get(kind, Executed(kind, 0, 0.0))
        time = executed.microseconds * more / executed.count
        found[kind] = Executed(kind, before.count + more, before.microseconds + time)
    return sorted(found.values(), key=lambda each: -each.microseconds)
