"""Measures the variants of one training side by side."""

from __future__ import annotations

import contextlib
import dataclasses
import random
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tests.bench.fit import FitRun
from tests.bench.kernels import Executed, Profile, beyond, profile_of
from tests.bench.models import Model
from tests.bench.variants import AGAIN, PLAIN, VARIANTS, Run, Variant

_PASSES = 8  # in one call, so that the call itself does not count
_SETTLE = 3
_LEARN = 25  # steps until the sentinel knows the norms
_PROFILES = 3  # of which the quickest counts
_ROUTINE = 8  # steps from one that the sentinel judges to the next


@dataclasses.dataclass(frozen=True)
class Ratio:
    """Median and quartiles over the rounds."""

    low: float
    middle: float
    high: float


@dataclasses.dataclass(frozen=True)
class Row:
    """What was measured of one variant.

    Attributes:
      variant: its key.
      title: its title.
      milliseconds: median of a step.
      ratio: time of a step / plain.
      cpu: processor time of a step, all threads, / plain.
      kernels: executed in a step that is (`every=1`) or is not recorded; None if unknown.
      profile: those beyond plain.
      first_call: seconds: tracing, optimizing, one step.
      bytes: a recorded step; None if it writes nothing.
      floors: what a step takes beyond plain / one pass over the gradients.
    """

    variant: str
    title: str
    milliseconds: float
    ratio: Ratio
    cpu: Ratio
    kernels: int | None
    profile: list[Executed]
    first_call: float
    bytes: float | None
    floors: float


@dataclasses.dataclass(frozen=True)
class Table:
    """What was measured of one model.

    Attributes:
      model: its key.
      title: its title.
      variables: how many there are.
      parameters: elements in them.
      gradient_bytes: of all gradients, those of IndexedSlices as they are.
      floor_milliseconds: one pass over that memory, `tf.nn.l2_loss` of every gradient.
      block: steps of one turn.
      rounds: turns of every variant.
      rows: one for each variant.
    """

    model: str
    title: str
    variables: int
    parameters: int
    gradient_bytes: int
    floor_milliseconds: float
    block: int
    rounds: int
    rows: list[Row]


@dataclasses.dataclass(frozen=True)
class _Turn:
    """One block of one variant: seconds and processor seconds of a step, steps recorded."""

    wall: float
    cpu: float
    records: int


def measure(
    key: str,
    model: Model,
    variants: Sequence[Variant] = VARIANTS,
    say: Callable[[str], None] = lambda text: None,
) -> Table:
    """Measures one model.

    Args:
      key: of the model.
      model: what to measure.
      variants: the rows, `plain` among them.
      say: is told how far it is.
    """
    with contextlib.ExitStack() as stack, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "tb_gradscope records nowhere")
        logdir = stack.enter_context(tempfile.TemporaryDirectory(prefix="gradscope_bench_"))
        runs: list[Run] = []
        first_calls = []
        for variant in variants:
            say(f"{key}: first call of {variant.key}")
            training = model.make()
            start = time.perf_counter()
            made = FitRun if model.way == "fit" else Run
            runs.append(made(variant, model, training, logdir, stack))
            first_calls.append(time.perf_counter() - start)
        for run in runs:
            run.block(_LEARN if run.variant.ours and run.variant.every else _SETTLE)
        profiles = [_profile_of(run) for run in runs]
        plain = profiles[[run.variant.key for run in runs].index(PLAIN)]
        gradients = runs[0].gradients()
        floor = _compiled_floor(gradients) if model.way == "xla" else _floor(gradients)
        written = [(run.bytes_written, run.records) for run in runs]
        turns = _take_turns(runs, model, lambda done: say(f"{key}: round {done}/{model.rounds}"))
        return Table(
            model=key,
            title=model.title,
            variables=len(training.variables),
            parameters=sum(int(np.prod(variable.shape)) for variable in training.variables),
            gradient_bytes=sum(gradient.nbytes for gradient in map(np.asarray, gradients)),
            floor_milliseconds=1e3 * floor,
            block=model.block,
            rounds=model.rounds,
            rows=[
                _row(run, turns, first, (profile, plain), before, floor)
                for run, first, profile, before in zip(
                    runs, first_calls, profiles, written, strict=True
                )
            ],
        )


def _take_turns(
    runs: list[Run], model: Model, say: Callable[[int], None]
) -> dict[str, list[_Turn]]:
    """Returns the turns of each variant, one in every round."""
    turns: dict[str, list[_Turn]] = {run.variant.key: [] for run in runs}
    order = random.Random(0)
    for done in range(model.rounds):
        say(done)
        for run in order.sample(runs, len(runs)):
            records, cpu = run.records, time.process_time()
            steps = max(1, round(model.block * run.variant.share))
            wall = run.block(steps)
            cpu = time.process_time() - cpu
            turns[run.variant.key].append(_Turn(wall / steps, cpu / steps, run.records - records))
    return turns


def _row(
    run: Run,
    turns: dict[str, list[_Turn]],
    first_call: float,
    profiles: tuple[Profile, Profile],
    before: tuple[int, int],
    floor: float,
) -> Row:
    variant, own, profile = run.variant, turns[run.variant.key], profiles[0]
    # The same thing measured twice in each round: half the noise in what all is compared with.
    plains = [turns[PLAIN]]
    if AGAIN in turns and variant.key not in (PLAIN, AGAIN):
        plains.append(turns[AGAIN])
    records = [turn.records for turn in own]
    wall = _ratio([t.wall for t in own], [[t.wall for t in plain] for plain in plains], records)
    cpu = _ratio([t.cpu for t in own], [[t.cpu for t in plain] for plain in plains], records)
    plain_step = float(np.median([t.wall for plain in plains for t in plain]))
    new_records = run.records - before[1]
    writes = bool(variant.every) and new_records > 0
    return Row(
        variant=variant.key,
        title=variant.title,
        milliseconds=1e3 * wall.middle * plain_step,
        ratio=wall,
        cpu=cpu,
        kernels=sum(each.count for each in profile.values()) or None,
        profile=beyond(profiles[1], profile),
        first_call=first_call,
        bytes=(run.bytes_written - before[0]) / new_records if writes else None,
        floors=(wall.middle - 1) * plain_step / floor,
    )


def _ratio(own: list[float], plains: list[list[float]], records: list[int]) -> Ratio:
    """Returns the quartiles of own / plain over the rounds.

    Turns shorter than N steps differ in whether a recorded step is among them: quartiles
    are taken of each kind of turn alone and averaged by how often that kind comes.
    """
    ratios = np.array(own) / np.mean(plains, axis=0)
    kinds = np.array(records)
    quartiles = np.zeros(3)
    for kind in np.unique(kinds):
        of_kind = ratios[kinds == kind]
        quartiles += np.percentile(of_kind, [25, 50, 75]) * len(of_kind) / len(ratios)
    low, middle, high = map(float, quartiles)
    return Ratio(low, middle, high)


def _profile_of(run: Run) -> Profile:
    """Returns the quickest of some steps."""
    every, profiles = run.variant.every or 1, []
    for _ in range(_PROFILES):
        # A step or two more, to come to one that is neither due nor judged.
        while every > 1 and (run.steps % every == 0 or run.steps % _ROUTINE == 0):
            run.block(1)
        profiles.append(profile_of(lambda: run.block(1)))
    return min(profiles, key=lambda profile: sum(each.microseconds for each in profile.values()))


def _floor(gradients: list[Any]) -> float:
    """Returns the seconds of one pass over the memory of the gradients."""

    def one_pass(total: Any, values: Sequence[Any]) -> Any:
        return total + tf.add_n([tf.nn.l2_loss(value) for value in values])

    def passes(*values: Any) -> Any:
        # A loop: unrolled, the passes are found to be the same and done once.
        return tf.while_loop(
            lambda done, total: done < _PASSES,
            lambda done, total: (done + 1, one_pass(total, values)),
            (0, tf.constant(0.0)),
            parallel_iterations=1,
        )[1]

    return _seconds(tf.function(passes), gradients, 30) / _PASSES


def _compiled_floor(gradients: list[Any]) -> float:
    """Returns the same of XLA, which takes longer on a CPU, and would do a loop's pass once."""

    def one_pass(*values: Any) -> Any:
        return tf.stack([tf.nn.l2_loss(value) for value in values])

    def one_element(*values: Any) -> Any:
        return tf.stack([tf.reshape(value, [-1])[0] for value in values])

    with_call, call = (
        _seconds(tf.function(each, jit_compile=True), gradients, 30 * _PASSES)
        for each in (one_pass, one_element)
    )
    return with_call - call


def _seconds(function: Callable[..., Any], gradients: list[Any], count: int) -> float:
    """Returns the median time of some calls, after a first one."""
    function(*gradients)
    times = []
    for _ in range(count):
        start = time.perf_counter()
        function(*gradients).numpy()
        times.append(time.perf_counter() - start)
    return float(np.median(times))
