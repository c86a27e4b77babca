"""What must be measured in a process of its own: TensorFlow's debugger, and peak memory."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tests.bench.models import MODELS
from tests.bench.variants import PLAIN, VARIANTS, Run
from tests.peak import peak_bytes

DEBUGGER = ("CONCISE_HEALTH", "FULL_HEALTH")
_DEBUGGED = ("mlp", "transformer")
_WEIGHED = ("transformer", "100m")
_STEPS = {"100m": 8}
_TIMEOUT = 180
_PROCESSES = 5  # of each kind, whose memory is measured


@dataclasses.dataclass(frozen=True)
class Child:
    """What one process said.

    Attributes:
      model: key of the model.
      title: what ran.
      ratio: time of a step / plain; None where it is another row that says so.
      megabytes: the largest amount of memory the process held, the median of several.
      memory: the same / plain; None for what is compared in time only.
    """

    model: str
    title: str
    ratio: float | None
    megabytes: float
    memory: float | None


def measure_children(say: Callable[[str], None] = lambda text: None) -> list[Child]:
    """Runs every process, one after the other."""
    found = []
    for model in _DEBUGGED:
        for mode in DEBUGGER:
            say(f"{model}: TensorFlow Debugger V2, {mode}")
            said = _ask(model, mode)
            title = f"TensorFlow Debugger V2, {mode}"
            found.append(Child(model, title, said["ratio"], said["megabytes"], None))
    for model in _WEIGHED:
        say(f"{model}: memory")
        plain = _megabytes(model, PLAIN)
        found.append(Child(model, "plain tf.GradientTape", None, plain, 1.0))
        for key in ("sentinel", "every10"):
            title = next(variant.title for variant in VARIANTS if variant.key == key)
            ours = _megabytes(model, key)
            found.append(Child(model, title, None, ours, ours / plain))
    return found


def _megabytes(model: str, what: str) -> float:
    # Two large gradients that are there at once by chance, or not, are 200 MB.
    return statistics.median(_ask(model, what)["megabytes"] for _ in range(_PROCESSES))


def _ask(model: str, what: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.bench.child", model, what]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=True)
    said: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return said


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("what", choices=[*DEBUGGER, *(variant.key for variant in VARIANTS)])
    options = parser.parse_args()
    steps = _STEPS.get(options.model, 40)
    with tempfile.TemporaryDirectory(prefix="gradscope_bench_") as folder:
        if options.what in DEBUGGER:
            plain = _seconds(options.model, PLAIN, steps, folder)
            tf.debugging.experimental.enable_dump_debug_info(
                os.path.join(folder, "debugger"), tensor_debug_mode=options.what
            )
            ratio = _seconds(options.model, PLAIN, steps, folder) / plain
        else:
            # The sentinel alone: what the very first record holds is not asked here.
            _seconds(options.model, options.what, steps, folder, "sentinel" not in options.what)
            ratio = None
    print(json.dumps({"ratio": ratio, "megabytes": peak_bytes() / 1e6}))


def _seconds(model: str, key: str, steps: int, folder: str, records_first: bool = True) -> float:
    """Returns the median seconds of a step."""
    variant = next(variant for variant in VARIANTS if variant.key == key)
    with contextlib.ExitStack() as stack:
        run = Run(variant, MODELS[model], MODELS[model].make(), folder, stack, records_first)
        times = []
        for _ in range(steps):
            start = time.perf_counter()
            run.block(1)
            times.append(time.perf_counter() - start)
    return float(np.median(times))


if __name__ == "__main__":
    _main()
