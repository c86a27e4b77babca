"""What was measured, as Markdown and as JSON."""

from __future__ import annotations

import dataclasses
import datetime
import os
import platform
from typing import Any

import numpy as np
import tensorflow as tf

import tb_gradscope
from tests.bench.child import Child
from tests.bench.measure import Row, Table
from tests.bench.tables import aligned
from tests.bench.variants import SCALARS

_HEAD = (
    "variant",
    "ms/step",
    "/ plain",
    "quartiles",
    "CPU",
    "/ scalars",
    "kernels",
    "first call",
    "bytes/record",
    "/ scalars",
    "extra / floor",
)

_PROFILED = ("sentinel", "every1")
_LONGEST = 6  # types of operations named

NOTES = """\
All variants train in turns of some steps within one process, in random order; `/ plain` is the \
median over the rounds of time per step against plain steps of the same round, `CPU` the same of \
processor time over all threads. Writing in the background and a flush at the end of each turn \
are part of the time. `kernels`: what TensorFlow executes in one step (with every=10 and more: in \
one that is not recorded). `extra / floor`: what a step takes beyond plain, in passes over the \
gradients' memory."""


def machine() -> dict[str, Any]:
    """Returns what the numbers depend on."""
    return {
        "date": datetime.date.today().isoformat(),
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.machine()}",
        "gpus": len(tf.config.list_physical_devices("GPU")),
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "numpy": np.__version__,
        "tb_gradscope": tb_gradscope.__version__,
    }


def as_dict(tables: list[Table], children: list[Child], facts: dict[str, Any]) -> dict[str, Any]:
    """Returns what goes into the JSON file."""
    return {
        "format": 1,
        "machine": facts,
        "models": {table.model: dataclasses.asdict(table) for table in tables},
        "processes": [dataclasses.asdict(child) for child in children],
    }


def markdown(tables: list[Table], children: list[Child], facts: dict[str, Any]) -> str:
    """Returns the tables, aligned, so that they read well as plain text too."""
    lines = ["# What recording costs", ""]
    lines += [", ".join(f"{key} {value}" for key, value in facts.items()), "", NOTES, ""]
    for table in tables:
        lines += [f"## {table.title}", "", _summary(table), "", *_table(table), ""]
        lines += [line for row in table.rows for line in _profile(row)]
    if children:
        lines += ["## In processes of their own", "", *aligned(_child_cells(children), 2), ""]
    return "\n".join(lines)


def _summary(table: Table) -> str:
    return (
        f"{table.variables} variables, {table.parameters:,} parameters, "
        f"{table.gradient_bytes / 1e6:.2f} MB of gradients, "
        f"floor (one pass) {table.floor_milliseconds:.3f} ms; "
        f"{table.rounds} rounds of {table.block} steps"
    )


def _table(table: Table) -> list[str]:
    by_key = {row.variant: row for row in table.rows}
    return aligned([list(_HEAD), *(_cells(row, by_key.get(SCALARS)) for row in table.rows)], 1)


def _profile(row: Row) -> list[str]:
    """Says where the time goes beyond plain, of the rows that the budgets are for."""
    if row.variant not in _PROFILED or not row.profile:
        return []
    longest, rest = row.profile[:_LONGEST], row.profile[_LONGEST:]
    said = [f"{one.type} {one.count} times, {one.microseconds:.0f} µs" for one in longest]
    if rest:
        count, time = sum(one.count for one in rest), sum(one.microseconds for one in rest)
        said.append(f"{count} others {time:.0f} µs")
    return [f"Beyond plain, {row.title}: {'; '.join(said)}.", ""]


def _child_cells(children: list[Child]) -> list[list[str]]:
    rows = [["model", "what", "ms/step / plain", "peak memory", "/ plain"]]
    for child in children:
        ratio, memory = _or_dash(child.ratio, ".2f"), _or_dash(child.memory, ".3f")
        rows.append([child.model, child.title, ratio, f"{child.megabytes:,.0f} MB", memory])
    return rows


def _cells(row: Row, scalars: Row | None) -> list[str]:
    time_to_scalars = row.ratio.middle / scalars.ratio.middle if scalars else None
    bytes_to_scalars = (
        row.bytes / scalars.bytes if scalars and scalars.bytes and row.bytes is not None else None
    )
    return [
        row.title,
        f"{row.milliseconds:.2f}",
        f"{row.ratio.middle:.3f}",
        f"{row.ratio.low:.2f} to {row.ratio.high:.2f}",
        f"{row.cpu.middle:.3f}",
        _or_dash(time_to_scalars, ".2f"),
        _or_dash(row.kernels, "d"),
        f"{row.first_call:.1f} s",
        _or_dash(row.bytes, ",.0f"),
        _or_dash(bytes_to_scalars, ".2f"),
        f"{row.floors:.1f}",
    ]


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":", 1)[1].strip() for line in file if "model name" in line]
        return names[0] if names else platform.processor()
    except OSError:
        return platform.processor() or platform.machine()
