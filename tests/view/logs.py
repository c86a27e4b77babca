"""Writes real event files, without TensorFlow, as a training would."""

from __future__ import annotations

import itertools
import pathlib
import struct

import numpy as np
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.util import tensor_util

from tb_gradscope.format import messages, tags
from tb_gradscope.format.cosine import CosineRecord, encode_cosine
from tb_gradscope.format.optimizer import OptimizerRecord, encode_optimizer
from tb_gradscope.format.record import (
    COUNTED,
    ClipRecord,
    GradientRecord,
    absent_norm,
    encode_clip,
    encode_gradient,
)
from tb_gradscope.format.statistics import (
    BESIDE_NORM,
    STATISTIC_COUNT,
    Reason,
    State,
    Statistic,
)
from tb_gradscope.view.eventfiles import _masked_crc32c

_TICKS = itertools.count()
_CRC = [0] * 256
for _byte in range(256):
    _crc = _byte
    for _ in range(8):
        _crc = _crc >> 1 ^ (0x82F63B78 if _crc & 1 else 0)
    _CRC[_byte] = _crc

OK, NONE, ZERO, NAN, INF = State.OK, State.NONE, State.ZERO, State.NAN, State.INF


class Log:
    """One event file. Wall times grow by a second with everything written, over all files."""

    def __init__(self, run: pathlib.Path, number: int = 0):
        run.mkdir(parents=True, exist_ok=True)
        self.path = run / f"events.out.tfevents.{1700000000 + number}.host.1.{number}.v2"
        self._file = self.path.open("ab")
        if not self.path.stat().st_size:
            self._event(event_pb2.Event(file_version="brain.Event:2"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()

    def put(self, step, tag, value, plugin, wall_time=None):
        event = event_pb2.Event(step=step)
        if wall_time is not None:
            event.wall_time = wall_time
        entry = event.summary.value.add(tag=tag)
        entry.metadata.plugin_data.plugin_name = plugin
        entry.metadata.plugin_data.content = tags.PLUGIN_CONTENT
        entry.metadata.data_class = summary_pb2.DATA_CLASS_TENSOR
        proto = value if hasattr(value, "tensor_shape") else tensor_util.make_tensor_proto(value)
        entry.tensor.CopyFrom(proto)
        self._event(event)

    def flush(self):
        self._file.flush()

    def _event(self, event):
        if not event.wall_time:
            event.wall_time = 1.7e9 + next(_TICKS)
        data = event.SerializeToString()
        head = struct.pack("<Q", len(data))
        self._file.write(head + struct.pack("<I", _masked_crc32c(head)))
        self._file.write(data + struct.pack("<I", _masked(data)))


class Loss:
    """A gradient series that can be written into any log, counting like a recorder."""

    def __init__(
        self, name, variables, counter=None, label=None, part_of="", watched=False, **schema
    ):
        self.name, self.variables = name, list(variables)
        self.counter = counter  # another series of this loss, which counts the calls of both
        self.schema = gradient_schema(name, self.variables, label=label, **schema)
        self.schema.part_of, self.schema.watched = part_of, watched
        self.series = series_of(self.schema)
        self.restart()

    def restart(self, session=""):
        self.schema.session = session
        self.calls = self.records = self.nonfinite = 0
        self.counts = np.zeros((len(self.variables), len(COUNTED)), np.int64)
        self.states = [OK] * len(self.variables)

    def open(self, log, step):
        log.put(
            step,
            tags.schema_tag(self.series),
            self.schema.SerializeToString(),
            tags.EVENTS_PLUGIN_NAME,
        )

    def event(self, log, step, kind, rows=(), states=(), count=0, version=1):
        message = messages.Event(version=version, kind=kind, count=count)
        message.variables.extend(rows)
        message.states.extend(int(state) for state in states)
        tag = tags.event_tag(self.series, messages.Event.Kind.Name(kind).lower())
        log.put(step, tag, message.SerializeToString(), tags.EVENTS_PLUGIN_NAME)

    def record(
        self,
        log,
        step,
        norms=1.0,
        states=None,
        events=True,
        reason=Reason.CADENCE,
        scale=1.0,
        norm_alone=(),
    ):
        """Writes a record whose numbers follow from `norms`, and a CHANGED event where due.

        Of the rows `norm_alone` nothing but state and norm is known.
        """
        states = list(states or [OK] * len(self.variables))
        counter = self.counter or self
        counter.calls += 1
        self.nonfinite += any(state in (NAN, INF) for state in states)
        self.records += 1
        for row, state in enumerate(states):
            if state in COUNTED:
                self.counts[row, COUNTED.index(state)] += 1
        changed = [row for row, state in enumerate(states) if state != self.states[row]]
        self.states = states
        values = gradient_values(norms, states, norm_alone)
        record = GradientRecord(
            values, counter.calls, self.records, self.counts, self.nonfinite, reason, scale
        )
        log.put(step, tags.record_tag(self.series), encode_gradient(record), tags.PLUGIN_NAME)
        if changed and events:
            kind = messages.Event.CHANGED
            self.event(log, step, kind, changed, [states[row] for row in changed])


class Clip:
    """A clip series."""

    def __init__(
        self,
        name,
        variables,
        method=messages.Clip.GLOBAL_NORM,
        after="",
        label=None,
        counts_every_call=None,
    ):
        self.schema = gradient_schema(name, variables, label=label)
        self.schema.kind = messages.Schema.CLIP
        self.schema.clip.method, self.schema.clip.after = method, after
        # An optimizer's own clipping has its norm on recorded steps only.
        counts = (
            method == messages.Clip.GLOBAL_NORM if counts_every_call is None else counts_every_call
        )
        self.schema.clip.counts_every_call = counts
        self.series = series_of(self.schema)
        self.restart()

    def restart(self, session=""):
        self.schema.session = session
        self.calls = self.clipped = self.nonfinite = 0

    open = Loss.open

    def record(self, log, step, before, threshold=1.0):
        before = np.asarray(before, np.float32)
        whole = float(np.sqrt(np.nansum(before**2)))
        scale = min(1.0, threshold / whole)
        self.calls += 1
        self.clipped += scale < 1
        record = ClipRecord(
            np.stack([before, np.where(np.isnan(before), before, before * scale)], axis=1),
            self.calls,
            self.clipped,
            self.nonfinite,
            threshold,
            whole,
            whole * scale,
            scale,
        )
        log.put(step, tags.record_tag(self.series), encode_clip(record), tags.PLUGIN_NAME)


class Optimizer:
    """An optimizer series, whose calls are applied unless skipped."""

    def __init__(
        self, name, variables, class_name="Adam", scaled=False, accumulation=1, counter=None
    ):
        self.variables = list(variables)
        self.counter = counter  # another series of this optimizer, which counts the calls of both
        label = {"stage": messages.Label.UNSCALED} if scaled else None
        self.schema = gradient_schema(name, self.variables, label=label)
        self.schema.kind = messages.Schema.OPTIMIZER
        self.schema.optimizer.class_name = class_name
        self.schema.optimizer.has_loss_scale = scaled
        self.schema.optimizer.accumulation = accumulation
        self.series = series_of(self.schema)
        self.restart()

    def restart(self, session=""):
        self.schema.session = session
        self.calls = self.applied = self.skipped = 0

    open = Loss.open
    event = Loss.event

    def record(
        self,
        log,
        step,
        norms=1.0,
        updates=0.003,
        states=None,
        scale=1.0,
        rate=0.1,
        norm_alone=(),
    ):
        """Writes a record: skipped, with an event, where a gradient is not finite.

        Of the rows `norm_alone` nothing but state and norm of the gradient is known.
        """
        states = list(states or [OK] * len(self.variables))
        skipped = any(state in (NAN, INF) for state in states)
        self.skipped += skipped
        self.applied += not skipped
        counter = self.counter or self
        counter.calls += 1
        if skipped:
            self.event(log, step, messages.Event.SKIPPED, count=self.skipped)
        counts = np.zeros((len(states), len(COUNTED)), np.int64)
        values = gradient_values(norms, states, norm_alone)
        gradient = GradientRecord(values, counter.calls, 1, counts)
        updates = np.broadcast_to(np.float32(0 if skipped else updates), (len(states),)).copy()
        updates[list(norm_alone)] = np.nan
        record = OptimizerRecord(gradient, updates, self.applied, self.skipped, scale, rate)
        log.put(step, tags.record_tag(self.series), encode_optimizer(record), tags.PLUGIN_NAME)


class Cosine:
    """Cosines of a loss with those asked for before it."""

    def __init__(self, name, losses, variables, label=None):
        self.schema = gradient_schema(name, variables, label=label)
        self.schema.kind = messages.Schema.COSINE
        self.schema.losses.extend(losses)
        self.series = series_of(self.schema)
        self.restart()

    def restart(self, session=""):
        self.schema.session = session
        self.calls = 0

    open = Loss.open

    def record(self, log, step, cosines):
        """Writes `cosines` `[loss][variable]`; None where a loss does not share a variable."""
        self.calls += 1
        array = [[absent_norm() if one is None else one for one in row] for row in cosines]
        record = CosineRecord(np.array(array, np.float32), self.calls)
        log.put(step, tags.record_tag(self.series), encode_cosine(record), tags.PLUGIN_NAME)


def series_of(schema):
    """Returns what a recorder might call a series: it depends on what it is of."""
    names = [variable.name for variable in schema.variables]
    label = schema.label.SerializeToString().hex()
    kind = "" if schema.kind == messages.Schema.GRADIENT else str(schema.kind)
    return tags.series_id([kind, schema.name, label, *schema.losses, *names])


def replica(number, replicas=2, **label):
    """Returns the label of one replica, -1 for the mean of all."""
    reduction = messages.Label.MEAN if number < 0 else messages.Label.LOCAL
    return {"replica": number, "replicas": replicas, "reduction": reduction, **label}


def gradient_schema(name, variables, version=1, line=7, label=None):
    schema = messages.Schema(version=version, name=name, step_source=messages.Schema.USER)
    schema.label.CopyFrom(messages.Label(**(label or {})))
    for number, variable in enumerate(variables):
        schema.variables.add(name=variable, dtype="float32", shape=[number + 2, 1], trainable=True)
    schema.where.file, schema.where.line = "train.py", line
    schema.where.function, schema.where.code = "step", "g = tape.gradient(loss, variables)"
    return schema


def gradient_values(norms, states, norm_alone=()):
    """Values as the recorder would have them, all following from the norms."""
    norms = np.broadcast_to(np.asarray(norms, np.float32), (len(states),))
    values = np.zeros((len(states), STATISTIC_COUNT), np.float32)
    values[:, Statistic.NORM] = norms
    values[:, Statistic.MAX_ABS] = norms / 2
    values[:, Statistic.MEAN] = -norms / 8
    values[:, Statistic.STD] = norms / 4
    values[:, Statistic.ZERO_FRACTION] = 0.25
    values[:, Statistic.VARIABLE_NORM] = 3
    for row, state in enumerate(states):
        values[row, Statistic.STATE] = state
        if state == NONE:
            values[row, Statistic.NORM : Statistic.VARIABLE_NORM] = np.nan
        elif state == ZERO:
            values[row, Statistic.NORM : Statistic.ZERO_FRACTION] = 0
            values[row, Statistic.ZERO_FRACTION] = 1
        elif state in (NAN, INF):
            values[row, Statistic.NORM] = np.nan if state == NAN else np.inf
            values[row, Statistic.MAX_ABS : Statistic.ZERO_FRACTION] = np.nan
            values[row, Statistic.NAN_COUNT if state == NAN else Statistic.INF_COUNT] = 3
    for row in norm_alone:
        values[row, BESIDE_NORM] = absent_norm()
        values[row, [Statistic.NAN_COUNT, Statistic.INF_COUNT]] = 0
    return values


def _masked(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
