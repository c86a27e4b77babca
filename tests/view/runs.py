"""One log directory with all that can go right or wrong, a run for each."""

from __future__ import annotations

import os

import numpy as np
from tensorboard.compat.proto import tensor_pb2, types_pb2

from tb_gradscope.format import messages, tags
from tb_gradscope.format.record import none_norm
from tb_gradscope.format.statistics import Reason
from tests.view.logs import (
    INF,
    NAN,
    NONE,
    OK,
    ZERO,
    Clip,
    Cosine,
    Log,
    Loss,
    Optimizer,
    replica,
)

ODD = "a \"b\" 'c' <img src=x onerror=alert(1)> ü😀/ñ&d=1#e+%41\n\\ " + "x" * 300
ODD_RUN = "odd <b> & 'run'=1#ü😀+%41"


def write_all(root):
    """Writes every run of this module below `root`."""
    for name, write in RUNS.items():
        write(root / name)


def plain(run):
    """Two losses; the second never reaches `b`. All states occur."""
    with Log(run) as log:
        one, two = (
            Loss("one", ["layer/a", "layer/b", "c"]),
            Loss("two", ["layer/a", "layer/b", "c"]),
        )
        clip = Clip("clip", ["layer/a", "layer/b", "c"])
        for series in (one, two, clip):
            series.open(log, 0)
        for step in range(5):
            last = [OK, ZERO, NAN, INF, OK][step]
            one.record(log, step, [1 + step, 2, 3], [OK, OK, last])
            two.record(log, step, [4, 5, 6 + step], [OK, NONE, OK])
            clip.record(log, step, [3 * step + 0.25, none_norm(), 0.5])


def restart(run):
    """Stopped at step 9, gone on from 6: `b` was None at 8, in the life that no longer counts."""
    loss, clip = Loss("loss", ["a", "b"]), Clip("clip", ["a", "b"])
    with Log(run) as log:
        loss.open(log, 0)
        clip.open(log, 0)
        for step in range(10):
            loss.record(log, step, 1, [OK, NONE if step in (2, 8) else OK])
            clip.record(log, step, [2, 2])
    loss.restart()
    clip.restart()
    with Log(run, 1) as log:
        loss.open(log, 6)
        clip.open(log, 6)
        for step in range(6, 15):
            loss.record(log, step, 2)
            clip.record(log, step, [2, 2])


def back_in_one_file(run):
    loss = Loss("loss", ["a"])
    with Log(run) as log:
        loss.open(log, 0)
        for step in [*range(10), *range(5, 8)]:
            loss.record(log, step, loss.calls + 1)


def repeated_steps(run):
    loss = Loss("loss", ["a"])
    with Log(run) as log:
        loss.open(log, 0)
        for step in (0, 0, 1, 1, 1, 2, 2):
            loss.record(log, step, loss.calls + 1)


def several_files(run):
    loss = Loss("loss", ["a"])
    for number in range(3):
        with Log(run, number) as log:
            loss.open(log, 4 * number)
            for step in range(4 * number, 4 * number + 4):
                loss.record(log, step, step + 1)


def interleaved_files(run):
    """Two writers in one run: what is kept follows from the order of the files."""
    for number, steps in enumerate([(1, 3, 5), (0, 2, 4)]):
        loss = Loss("loss", ["a"])
        with Log(run, number) as log:
            loss.open(log, steps[0])
            for step in steps:
                loss.record(log, step, step + 1)


def truncated(run):
    loss = Loss("loss", ["a", "b"])
    with Log(run) as log:
        loss.open(log, 0)
        for step in range(8):
            loss.record(log, step, step + 1)
    os.truncate(log.path, log.path.stat().st_size - 25)


def newer(run):
    """Written in part by later versions."""
    good, later = Loss("good", ["a"]), Loss("later", ["a"], version=2)
    record, event = Loss("later record", ["a"]), Loss("later event", ["a"])
    with Log(run) as log:
        for loss in (good, later, record, event):
            loss.open(log, 0)
            loss.record(log, 0)
        data = np.array([2, *[0] * 13], np.float32)
        log.put(1, tags.record_tag(record.series), data, tags.PLUGIN_NAME)
        event.event(log, 1, messages.Event.CHANGED, [0], [NONE], version=2)


def broken(run):
    """Everything that can be wrong with one tag, and a healthy loss among it."""
    good, rows = Loss("good", ["a"]), Loss("rows", ["a", "b"])
    short, poisoned, event = Loss("short", ["a"]), Loss("poisoned", ["a"]), Loss("event", ["a"])
    nameless, schema = Loss("nameless", ["a"]), Loss("schema", ["a"])
    with Log(run) as log:
        for loss in (good, rows, short, poisoned, event):
            loss.open(log, 0)
        for step in range(3):
            for loss in (good, rows, short, event, nameless, schema):
                loss.record(log, step, step + 1)
        log.put(3, tags.record_tag(rows.series), np.zeros(14, np.float32), tags.PLUGIN_NAME)
        log.put(4, tags.record_tag(rows.series), np.arange(3), tags.PLUGIN_NAME)
        rows.series, keep = good.series, rows.series
        rows.record(log, 3)  # two rows where the schema of "good" has one
        rows.series = keep
        half = np.array([1, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1, 0, 5], np.float32)
        log.put(3, tags.record_tag(short.series), half, tags.PLUGIN_NAME)
        bfloat16 = tensor_pb2.TensorProto(dtype=types_pb2.DT_BFLOAT16, tensor_content=b"\0\0")
        bfloat16.tensor_shape.dim.add(size=1)
        log.put(0, tags.record_tag(poisoned.series), bfloat16, tags.PLUGIN_NAME)
        poisoned.event(log, 0, messages.Event.TRACED, [0], [NONE])
        event.event(log, 3, messages.Event.CHANGED, [5], [NONE])
        event.event(log, 4, messages.Event.CHANGED, [0, 0], [NONE])
        log.put(5, tags.event_tag(event.series, "changed"), b"\xff\xff", tags.EVENTS_PLUGIN_NAME)
        log.put(0, tags.schema_tag(schema.series), b"\xff\xff", tags.EVENTS_PLUGIN_NAME)
        log.put(0, "gradscope/what", b"", tags.EVENTS_PLUGIN_NAME)
        log.put(0, "gradscope/schema/", b"", tags.EVENTS_PLUGIN_NAME)


def poisoned_event(run):
    """A tag of rare things that no data provider can decode, beside those of a healthy loss."""
    good, bad = Loss("good", ["a"]), Loss("bad", ["a"])
    with Log(run) as log:
        bfloat16 = tensor_pb2.TensorProto(dtype=types_pb2.DT_BFLOAT16, tensor_content=b"\0\0")
        bfloat16.tensor_shape.dim.add(size=1)
        log.put(0, tags.schema_tag(bad.series), bfloat16, tags.EVENTS_PLUGIN_NAME)
        good.open(log, 0)
        good.record(log, 0)
        bad.record(log, 0)


def odd_names(run):
    loss = Loss(ODD + "loss", [ODD + "1", ODD + "2", "", "a/b/c", "self.x.y"])
    clip = Clip(ODD + "clip", [ODD + "1"])
    with Log(run) as log:
        loss.open(log, 0)
        clip.open(log, 0)
        loss.record(log, 0, [1, 2, 3, 4, 5])
        clip.record(log, 0, [2.0])


def traced(run):
    """The program crashed before its first step ended."""
    first, second = Loss("first", ["a", "b"]), Loss("second", ["a", "b"])
    with Log(run) as log:
        first.open(log, 3)
        second.open(log, 3)
        second.event(log, 3, messages.Event.TRACED, [1], [NONE])


def merged(run):
    """One loss, `b` frozen from step 3 to 5: another series then."""
    both = Loss("loss", ["a", "b"])
    only = Loss("loss", ["a"], both)
    first, second = Clip("clip", ["a", "b"]), Clip("clip", ["a"])
    with Log(run) as log:
        for series in (both, first):
            series.open(log, 0)
        for step in range(3):
            both.record(log, step, step + 1, [OK, NONE if step == 1 else OK])
            first.record(log, step, [1, 2])
        for series in (only, second):
            series.open(log, 3)
        for step in range(3, 6):
            only.record(log, step, step + 1)
            second.record(log, step, [3])
        for step in range(6, 8):
            both.record(log, step, step + 1)
            first.record(log, step, [1, 2])


def asked_twice(run):
    """A persistent tape asked twice a step, for other variables of the same loss."""
    left = Loss("loss", ["a", "b"])
    right = Loss("loss", ["b", "c"], left)
    with Log(run) as log:
        left.open(log, 0)
        right.open(log, 0)
        for step in range(0, 6, 2):
            if step == 4:
                right.record(log, step, 2, [OK, NONE])
            left.record(log, step, 1, [OK, OK])
            if step != 4:
                right.record(log, step, 2, [OK, NONE])


def traced_beside(run):
    """A branch was traced, never run; its loss has numbers from another. Then a restart."""
    loss = Loss("loss", ["a"])
    branch = Loss("loss", ["a", "b"], loss)
    with Log(run) as log:
        loss.open(log, 0)
        branch.open(log, 1)
        branch.event(log, 1, messages.Event.TRACED, [1], [NONE])
        for step in range(0, 4, 2):
            loss.record(log, step)
    loss.restart()
    with Log(run, 1) as log:
        loss.open(log, 4)
        loss.record(log, 4)


def lost(run):
    loss = Loss("loss", ["a", "b", "c", "d"])
    with Log(run) as log:
        loss.open(log, 0)
        states = {3: [OK, NONE, OK, OK], 4: [OK, NONE, NONE, OK], 5: [OK, NONE, OK, NONE]}
        for step in range(6):
            loss.record(log, step, 1, states.get(step))
        loss.event(log, 6, messages.Event.LOST, count=12)


def big_counts(run):
    loss = Loss("loss", ["a"])
    loss.calls = 10**12
    loss.counts[0, 0] = 10**10
    with Log(run) as log:
        loss.open(log, 2**40)
        loss.record(log, 2**40)


def negative_steps(run):
    loss = Loss("loss", ["a"])
    with Log(run) as log:
        loss.open(log, -3)
        for step in range(-3, 2):
            loss.record(log, step, step + 10)


def rerun_less(run):
    """Twenty steps; then the script, with a loss, a variable and the clipping gone, runs for 8."""
    old, kl, clip = Loss("loss", ["w", "u"]), Loss("kl", ["w", "u"]), Clip("clip", ["w", "u"])
    new = Loss("loss", ["w"])
    with Log(run) as log:
        for series in (old, kl, clip):
            series.restart("first")
            series.open(log, 0)
        for step in range(20):
            old.record(log, step, 1, [OK, NAN if step > 14 else OK])
            kl.record(log, step, 1, [OK, NONE])
            clip.record(log, step, [2, 2])
    new.restart("second")
    with Log(run, 1) as log:
        new.open(log, 0)
        for step in range(8):
            new.record(log, step, 100)


def rerun_shorter(run):
    """Twenty steps that end in NaN, then five healthy ones of the very same loss."""
    loss, clip = Loss("loss", ["w", "u"]), Clip("clip", ["w"])
    for number, steps in enumerate([20, 5]):
        with Log(run, number) as log:
            for series in (loss, clip):
                series.restart(f"session {number}")
                series.open(log, 0)
            for step in range(steps):
                loss.record(log, step, 1 + number, [OK, NAN if step > 14 else OK])
                clip.record(log, step, [2])


def resumed_otherwise(run):
    """Stopped at 19, gone on from the checkpoint of step 10 with `u` frozen and no `kl`."""
    old, kl, late = Loss("loss", ["w", "u"]), Loss("kl", ["w", "u"]), Loss("late", ["w"])
    new = Loss("loss", ["w"])
    with Log(run) as log:
        for series in (old, kl, late):
            series.restart("first")
            series.open(log, 12 if series is late else 0)
        for step in range(20):
            old.record(log, step, 1, [OK, NONE if step in (3, 15) else OK])
            kl.record(log, step, 1)
            if step >= 12:
                late.record(log, step)
    new.restart("second")
    with Log(run, 1) as log:
        new.open(log, 10)
        for step in range(10, 16):
            new.record(log, step, 2)


def side_by_side(run):
    """A training with an evaluation beside it, the training stopped at 9 and gone on from 5."""
    train, check = Loss("loss", ["w"]), Loss("check", ["w"])
    train.restart("training")
    check.restart("evaluation")
    with Log(run, 1) as beside:
        with Log(run) as log:
            train.open(log, 0)
            for step in range(10):
                train.record(log, step)
                if step == 3:
                    check.open(beside, 0)
                if step > 3:
                    check.record(beside, step - 4)
        train.restart("training again")
        with Log(run, 2) as log:
            train.open(log, 5)
            for step in range(5, 8):
                train.record(log, step, 2)
                check.record(beside, step + 1)


def rerun_crashed(run):
    """Ten steps; the rerun crashed before the first of its own ended."""
    loss, kl = Loss("loss", ["w", "u"]), Loss("kl", ["w"])
    with Log(run) as log:
        for series in (loss, kl):
            series.restart("first")
            series.open(log, 0)
        for step in range(10):
            loss.record(log, step, 1, [OK, INF if step == 8 else OK])
            kl.record(log, step)
    loss.restart("second")
    with Log(run, 1) as log:
        loss.open(log, 0)
        loss.event(log, 0, messages.Event.TRACED, [0], [NONE])


def of_no_session(run):
    """`rerun_less` as it was written before recordings had names."""
    old, new = Loss("loss", ["w", "u"]), Loss("loss", ["w"])
    with Log(run) as log:
        old.open(log, 0)
        for step in range(6):
            old.record(log, step)
    with Log(run, 1) as log:
        new.open(log, 0)
        for step in range(3):
            new.record(log, step, 100)


def parts(run):
    """A total of three parts, of which two share only one variable, and how they lie."""
    total = Loss("total", ["shared", "a", "b"])
    one, two = (Loss(name, ["shared", "a", "b"], part_of="total") for name in ("recon", "kl"))
    later = Loss("other", ["shared"])
    with_one = Cosine("kl", ["recon"], ["shared"])
    with_both = Cosine("other", ["kl", "recon"], ["shared", "a"])
    with Log(run) as log:
        for series in (one, total, two, later, with_one, with_both):
            series.open(log, 0)
        for step in range(4):
            one.record(log, step, [3, 4, 0], [OK, OK, NONE])
            two.record(log, step, [1, 0, 2], [OK, NONE, OK])
            total.record(log, step, [2, 4, 2])
            later.record(log, step, [5])
            with_one.record(log, step, [[-0.5 - step / 10]])
            with_both.record(log, step, [[1, None], [-1, None]])


def replicas(run):
    """Two replicas, their reduction, and the clipping of each."""
    losses = [Loss("loss", ["w", "b"], label=replica(number)) for number in (1, -1, 0)]
    aux = Loss("aux", ["w"], label=replica(-1), part_of="loss")
    clips = [Clip("clip", ["w", "b"], label=replica(number)) for number in (0, -1)]
    with Log(run) as log:
        for series in (*losses, aux, *clips):
            series.open(log, 0)
        for step in range(3):
            for number, loss in enumerate(losses):
                loss.record(log, step, number + 1, [OK, NONE if number == 2 else OK])
            aux.record(log, step)
            for clip in clips:
                clip.record(log, step, [2, 2])


def accumulated(run):
    """Micro-batches, their sum, and an optimizer that takes one of four."""
    micro = Loss("loss", ["w"], label={"batch": messages.Label.MICRO_BATCH})
    summed = Loss("loss", ["w"], label={"batch": messages.Label.ACCUMULATED})
    optimizer = Optimizer("sgd", ["w"], "SGD", accumulation=4)
    with Log(run) as log:
        for series in (micro, summed, optimizer):
            series.open(log, 0)
        for step in range(8):
            micro.record(log, step)
            if step % 4 == 3:
                summed.record(log, step, 4)
                optimizer.record(log, step, 4, updates=0.03)


def scaled(run):
    """Mixed precision: the first two steps and step 6 overflow; the NaN of step 8 is real."""
    unscaled = {"stage": messages.Label.UNSCALED}
    loss = Loss("loss", ["w", "b"], label=unscaled, watched=True)
    optimizer = Optimizer("adam", ["w", "b"], scaled=True)
    with Log(run) as log:
        loss.open(log, 0)
        optimizer.open(log, 0)
        scale = 2.0**15
        for step in range(10):
            overflow = step in (0, 1, 6)
            reason = Reason.NONFINITE if step in (6, 8) else Reason.CADENCE
            states = [INF if overflow else OK, NAN if step == 8 else OK]
            loss.record(log, step, 1, states, reason=reason, scale=scale)
            if overflow:
                optimizer.record(log, step, 1, states=[INF, OK], scale=scale)
                scale /= 2
            else:
                optimizer.record(log, step, [1, 2], [0.003, 0.3], scale=scale)


def watched(run):
    """Recorded every 100 steps, but for a spike at 150 and the onset of NaN at 237."""
    loss = Loss("loss", ["w", "b"], watched=True)
    with Log(run) as log:
        loss.open(log, 0)
        picked = {150: Reason.SPIKE, 237: Reason.NONFINITE}
        for step in (0, 100, 150, 200, 237, 300):
            nan, reason = step >= 237, picked.get(step, Reason.CADENCE)
            loss.calls = step
            loss.record(log, step, 1, [OK, NAN if nan else OK], reason=reason)
            if reason == Reason.SPIKE:
                loss.event(log, step, messages.Event.SPIKE, [0, 1])


def norm_alone(run):
    """Of two large kernels only the norms are known at the spike of step 150, the last one."""
    names = ["table", "kernel", "bias"]
    loss, adam = Loss("loss", names, watched=True), Optimizer("adam", names)
    with Log(run) as log:
        loss.open(log, 0)
        adam.open(log, 0)
        for step in (0, 100, 150):
            large = [0, 1] if step == 150 else []
            reason = Reason.SPIKE if large else Reason.CADENCE
            states = [NAN if step else OK, OK, OK]
            loss.record(log, step, [1, 2, 3], states, reason=reason, norm_alone=large)
            adam.record(log, step, [1, 2, 3], [0.003, 0.003, 0.3], norm_alone=large)


def refrozen(run):
    """An optimizer whose variables change: another series from step 3 on, and back."""
    both = Optimizer("sgd", ["a", "b"], "SGD")
    only = Optimizer("sgd", ["a"], "SGD", counter=both)
    with Log(run) as log:
        both.open(log, 0)
        for step in range(3):
            both.record(log, step, 1, updates=0.03)
        only.open(log, 3)
        for step in range(3, 5):
            only.record(log, step, 2, updates=0.06)
        both.record(log, 5, 3, updates=0.09)


def scalars_only(run):
    with Log(run) as log:
        for step in range(3):
            log.put(step, "accuracy", np.float32(step), "scalars")
            log.put(step, "gradscope/record/0123", np.float32(step), "somebody_else")


RUNS = {
    "plain": plain,
    "nested/run": plain,
    "restart": restart,
    "back_in_one_file": back_in_one_file,
    "repeated_steps": repeated_steps,
    "several_files": several_files,
    "interleaved_files": interleaved_files,
    "truncated": truncated,
    "newer": newer,
    "broken": broken,
    "poisoned_event": poisoned_event,
    ODD_RUN: odd_names,
    "traced": traced,
    "merged": merged,
    "asked_twice": asked_twice,
    "traced_beside": traced_beside,
    "lost": lost,
    "big_counts": big_counts,
    "negative_steps": negative_steps,
    "rerun_less": rerun_less,
    "rerun_shorter": rerun_shorter,
    "resumed_otherwise": resumed_otherwise,
    "side_by_side": side_by_side,
    "rerun_crashed": rerun_crashed,
    "of_no_session": of_no_session,
    "parts": parts,
    "replicas": replicas,
    "accumulated": accumulated,
    "scaled": scaled,
    "watched": watched,
    "norm_alone": norm_alone,
    "refrozen": refrozen,
    "scalars_only": scalars_only,
}
