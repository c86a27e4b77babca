"""Writes event files as a recorder would, from cells given by hand. Needs no TensorFlow."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, tensor_shape_pb2, types_pb2
from tensorboard.summary.writer.record_writer import RecordWriter

from tb_gradscope.format import messages, record, tags
from tb_gradscope.format.statistics import STATISTIC_COUNT, State, Statistic

Cell = float | State
"""A norm, or the state of a gradient that has none."""


@dataclasses.dataclass
class _Series:
    tag: str
    rows: list[str]
    counts: Any
    states: list[State]
    calls: int = 0
    records: int = 0
    clipped: int = 0
    nonfinite: int = 0


class RunLog:
    """One run's event file, flushed after each record."""

    def __init__(self, directory: pathlib.Path, start: float = 1.7e9) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"events.out.tfevents.{int(start)}.test"
        self._file = path.open("ab")
        self._records = RecordWriter(self._file)
        self._start = start
        self._written = 0
        self._series: dict[str, _Series] = {}
        first = event_pb2.Event(wall_time=start, file_version="brain.Event:2")
        self._records.write(first.SerializeToString())

    def close(self) -> None:
        self._file.close()

    def loss(
        self, name: str, variables: Mapping[str, Sequence[int]], line: int = 1, **schema: Any
    ) -> None:
        """Opens a loss: its variables with their shapes."""
        rows = [
            messages.Variable(name=key, dtype="float32", shape=shape, trainable=True)
            for key, shape in variables.items()
        ]
        code = f"grads = tape.gradient({name}, variables)"
        self._open(name, rows, messages.Schema.GRADIENT, line, code, **schema)

    def record(self, loss: str, step: int, cells: Mapping[str, Cell], calls: int = 1) -> None:
        """Records one call; a variable without a cell is absent."""
        series = self._series[loss]
        series.calls += calls
        series.records += 1
        values = np.zeros((len(series.rows), STATISTIC_COUNT), np.float32)
        changed = []
        for row, name in enumerate(series.rows):
            state = _fill(values[row], cells.get(name, State.ABSENT))
            if state in record.COUNTED:
                series.counts[row, record.COUNTED.index(state)] += 1
            if state not in (State.ABSENT, series.states[row]):
                series.states[row] = state
                changed.append(row)
        if changed:
            states = [int(series.states[row]) for row in changed]
            self.event(loss, step, messages.Event.CHANGED, changed, states)
        stored = record.GradientRecord(values, series.calls, series.records, series.counts)
        self._write(tags.record_tag(series.tag), step, record.encode_gradient(stored))

    def event(
        self, series: str, step: int, kind: int, rows: Sequence[int] = (), states: Any = (), **more: Any
    ) -> None:
        """Writes one rare thing."""
        event = messages.Event(
            version=tags.FORMAT_VERSION, kind=kind, variables=rows, states=states, **more
        )
        self._write(tags.event_tag(self._series[series].tag), step, event.SerializeToString())

    def site(self, name: str, variables: Sequence[str], method: int, line: int = 1) -> None:
        """Opens a clip site."""
        rows = [messages.Variable(name=key, dtype="float32", shape=[1]) for key in variables]
        code = "grads, norm = gs.clip_by_global_norm(grads, 1.0)"
        clip = messages.Clip(method=method)
        self._open(name, rows, messages.Schema.CLIP, line, code, clip=clip)

    def clip(
        self,
        site: str,
        step: int,
        before: Mapping[str, float],
        threshold: float,
        calls: int = 1,
        clipped: int | None = None,
    ) -> None:
        """Records a call that scales all gradients together; None where a variable lacks."""
        series = self._series[site]
        norms = np.array([before.get(name, record.none_norm()) for name in series.rows], np.float32)
        there = ~record.is_none(norms)
        total = float(np.sqrt(np.square(norms[there].astype(np.float64)).sum()))
        scale = min(1.0, threshold / total) if np.isfinite(total) and total else 1.0
        series.calls += calls
        series.clipped += (calls if scale < 1 else 0) if clipped is None else clipped
        series.nonfinite += 0 if np.isfinite(total) else calls
        after = np.where(there, norms * np.float32(scale), norms)
        stored = record.ClipRecord(
            np.stack([norms, after], 1),
            series.calls,
            series.clipped,
            series.nonfinite,
            threshold,
            total,
            total * scale,
            scale,
        )
        self._write(tags.record_tag(series.tag), step, record.encode_clip(stored))

    def _open(
        self, name: str, rows: list[Any], kind: int, line: int, code: str, **schema: Any
    ) -> None:
        series = tags.series_id([name, *(row.name for row in rows)])
        self._series[name] = _Series(
            series,
            [row.name for row in rows],
            np.zeros((len(rows), len(record.COUNTED)), np.int64),
            [State.OK] * len(rows),
        )
        message = messages.Schema(
            version=tags.FORMAT_VERSION,
            kind=kind,
            name=name,
            variables=rows,
            where=messages.Place(file="/home/me/train.py", line=line, function="train_step", code=code),
            step_source=messages.Schema.USER,
            **schema,
        )
        self._write(tags.schema_tag(series), 0, message.SerializeToString())

    def _write(self, tag: str, step: int, value: Any) -> None:
        rare = isinstance(value, bytes)
        metadata = summary_pb2.SummaryMetadata(
            plugin_data=summary_pb2.SummaryMetadata.PluginData(
                plugin_name=tags.EVENTS_PLUGIN_NAME if rare else tags.PLUGIN_NAME,
                content=tags.PLUGIN_CONTENT,
            ),
            data_class=summary_pb2.DATA_CLASS_TENSOR,
        )
        if rare:
            tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, string_val=[value])
        else:
            shape = tensor_shape_pb2.TensorShapeProto()
            shape.dim.add(size=len(value))
            tensor = tensor_pb2.TensorProto(
                dtype=types_pb2.DT_FLOAT, tensor_shape=shape, tensor_content=value.tobytes()
            )
        summary = summary_pb2.Summary()
        summary.value.add(tag=tag, metadata=metadata, tensor=tensor)
        self._written += 1
        wall_time = self._start + step + self._written / 1000
        event = event_pb2.Event(wall_time=wall_time, step=step, summary=summary)
        self._records.write(event.SerializeToString())
        self._file.flush()


def _fill(row: Any, cell: Cell) -> State:
    """Fills one row of statistics that fit the cell; returns its state."""
    state = cell if isinstance(cell, State) else State.OK
    row[Statistic.STATE] = state
    row[Statistic.VARIABLE_NORM] = 2.0
    if state is State.OK:
        norm = float(cell)
        row[Statistic.NORM] = norm
        row[Statistic.MAX_ABS] = norm / 2
        row[Statistic.MEAN] = -norm / 50
        row[Statistic.STD] = norm / 10
        row[Statistic.ZERO_FRACTION] = 0.25
    elif state is State.NAN:
        row[Statistic.NORM : Statistic.ZERO_FRACTION] = np.nan
        row[Statistic.NAN_COUNT] = 3
    elif state is State.INF:
        row[Statistic.NORM : Statistic.ZERO_FRACTION] = np.inf
        row[Statistic.INF_COUNT] = 2
    elif state is State.ZERO:
        row[Statistic.ZERO_FRACTION] = 1
    return state
