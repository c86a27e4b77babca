"""Writes real event files, without TensorFlow, as a training would."""

from __future__ import annotations

import itertools
import pathlib
import struct

import numpy as np
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.util import tensor_util

from tb_gradscope.format import messages, tags
from tb_gradscope.format.record import (
    COUNTED,
    ClipRecord,
    GradientRecord,
    encode_clip,
    encode_gradient,
)
from tb_gradscope.format.statistics import STATISTIC_COUNT, State, Statistic
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

    def __init__(self, name, variables, counter=None, **schema):
        self.name, self.variables = name, list(variables)
        self.counter = counter  # another series of this loss, which counts the calls of both
        self.series = tags.series_id([name, *self.variables])
        self.schema = gradient_schema(name, self.variables, **schema)
        self.restart()

    def restart(self, session=""):
        self.schema.session = session
        self.calls = self.records = 0
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

    def record(self, log, step, norms=1.0, states=None, events=True):
        """Writes a record whose numbers follow from `norms`, and a CHANGED event where due."""
        states = list(states or [OK] * len(self.variables))
        counter = self.counter or self
        counter.calls += 1
        self.records += 1
        for row, state in enumerate(states):
            if state in COUNTED:
                self.counts[row, COUNTED.index(state)] += 1
        changed = [row for row, state in enumerate(states) if state != self.states[row]]
        self.states = states
        values = gradient_values(norms, states)
        record = GradientRecord(values, counter.calls, self.records, self.counts)
        log.put(step, tags.record_tag(self.series), encode_gradient(record), tags.PLUGIN_NAME)
        if changed and events:
            kind = messages.Event.CHANGED
            self.event(log, step, kind, changed, [states[row] for row in changed])


class Clip:
    """A clip series."""

    def __init__(self, name, variables, method=messages.Clip.GLOBAL_NORM, after=""):
        self.series = tags.series_id(["clip", name, *variables])
        self.schema = gradient_schema(name, variables)
        self.schema.kind = messages.Schema.CLIP
        self.schema.clip.method, self.schema.clip.after = method, after
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


def gradient_schema(name, variables, version=1, line=7):
    schema = messages.Schema(version=version, name=name, step_source=messages.Schema.USER)
    for number, variable in enumerate(variables):
        schema.variables.add(name=variable, dtype="float32", shape=[number + 2, 1], trainable=True)
    schema.where.file, schema.where.line = "train.py", line
    schema.where.function, schema.where.code = "step", "g = tape.gradient(loss, variables)"
    return schema


def gradient_values(norms, states):
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
    return values


def _masked(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
