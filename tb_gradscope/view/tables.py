"""A log directory as tables, for those who would rather have pandas."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from tb_gradscope.format.errors import GradscopeError
from tb_gradscope.format.history import (
    Label,
    LossHistory,
    OptimizerHistory,
    RunHistory,
)
from tb_gradscope.format.packing import Counts, Floats
from tb_gradscope.format.record import is_absent, is_none
from tb_gradscope.format.statistics import Reason, State, Statistic
from tb_gradscope.view import numbers
from tb_gradscope.view.empty import empty_run

if TYPE_CHECKING:
    import pandas as pd

Table = Literal["gradients", "clips", "optimizers", "cosines"]

_STATES = [state.name.lower() for state in State if state is not State.ABSENT]


def table_of(runs: Collection[RunHistory], table: Table) -> pd.DataFrame:
    """Returns one row for each record of each variable. See `History.to_pandas`."""
    if table not in get_args(Table):
        names = ", ".join(map(repr, get_args(Table)))
        raise GradscopeError(f"There is no table {table!r}; there are: {names}.")
    try:
        import pandas as pd
    except ImportError as error:
        raise GradscopeError(
            f"to_pandas() needs pandas, which cannot be imported ({error}); "
            "install it with: pip install pandas"
        ) from error
    rows = _ROWS[table]
    columns = _Columns()
    # The first gives the columns their names and types where there are no runs at all.
    for part in (next(rows(empty_run())), *(part for run in runs for part in rows(run))):
        columns.add(part)
    return pd.DataFrame(columns.joined(pd))


class _Columns:
    """Parts of a table. Texts, of which there are few, are numbered: a name is stored once."""

    def __init__(self) -> None:
        self._parts: dict[str, list[npt.NDArray[Any]]] = {}
        self._texts: dict[str, dict[str, int]] = {}

    def add(self, part: dict[str, Any]) -> None:
        count = len(part["step"])
        for name, values in part.items():
            if isinstance(values, _Coded):
                texts = self._texts.setdefault(name, {})
                if not count:
                    values = _Coded([], np.zeros(0, np.int64))
                codes = [texts.setdefault(text, len(texts)) for text in values.texts]
                values = np.array(codes, np.int64)[np.broadcast_to(values.codes, (count,))]
            self._parts.setdefault(name, []).append(np.broadcast_to(values, (count,)))

    def joined(self, pd: Any) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for name, parts in self._parts.items():
            data[name] = np.concatenate(parts)
            if name in self._texts:
                texts = pd.Index(list(self._texts[name]))
                data[name] = pd.Categorical.from_codes(data[name], texts)
        return data


class _Coded:
    """Texts by their positions in a list."""

    def __init__(self, texts: list[str], codes: Any = 0) -> None:
        self.texts, self.codes = texts, codes


def _gradients(run: RunHistory) -> Iterator[dict[str, Any]]:
    reasons = [reason.name.lower() for reason in Reason]
    for loss in run.losses:
        record, column, own = _records(run, loss)
        reason = np.clip(loss.reasons[record], 0, len(reasons) - 1)
        yield {
            "run": _Coded([run.name]),
            "loss": _Coded([loss.name]),
            **own,
            **{
                one.name.lower(): loss.values[record, column, one]
                for one in Statistic
                if one is not Statistic.STATE
            },
            "part_of": _Coded([loss.part_of]),
            **_label(loss.label),
            "loss_scale": loss.loss_scales[record],
            "loss_value": loss.loss_values[record],
            "reason": _Coded(reasons, reason),
        }


def _optimizers(run: RunHistory) -> Iterator[dict[str, Any]]:
    for one in run.optimizers:
        record, column, own = _records(run, one)
        yield {
            "run": _Coded([run.name]),
            "optimizer": _Coded([one.name]),
            **own,
            "gradient_norm": one.values[record, column, Statistic.NORM],
            "variable_norm": one.values[record, column, Statistic.VARIABLE_NORM],
            "update_norm": one.update_norms[record, column],
            "update_ratio": numbers.update_ratios(one)[record, column],
            "loss_scale": one.loss_scales[record],
            "learning_rate": one.learning_rates[record],
            "applied": one.applied[record],
            "skipped": one.skipped[record],
            **_label(one.label),
        }


def _clips(run: RunHistory) -> Iterator[dict[str, Any]]:
    for site in run.clips:
        # What the record lacks is no row; what was None is one without norms.
        norms = site.norms[:, :, 0]
        record, column = np.nonzero(~is_absent(norms) | is_none(norms))
        yield {
            "run": _Coded([run.name]),
            "clip": _Coded([site.name]),
            "variable": _Coded(list(site.variables), column),
            "step": site.steps[record],
            "wall_time": site.wall_times[record],
            "norm_before": norms[record, column],
            "norm_after": site.norms[record, column, 1],
            "method": _Coded([site.method]),
            "threshold": site.threshold[record],
            "whole_norm_before": site.norm_before[record],
            "whole_norm_after": site.norm_after[record],
            "scale": site.scale[record],
            "calls": site.calls[record],
            "clipped": site.clipped[record],
            "nonfinite": site.nonfinite[record],
            "after": _Coded([site.after]),
            **_label(site.label),
        }


def _cosines(run: RunHistory) -> Iterator[dict[str, Any]]:
    names = [variable.name for variable in run.variables]
    for pair in run.cosines:
        record, column = np.nonzero(~is_absent(pair.cosines))
        yield {
            "run": _Coded([run.name]),
            "loss": _Coded([pair.losses[0]]),
            "other_loss": _Coded([pair.losses[1]]),
            "variable": _Coded(names, pair.variables[column]),
            "step": pair.steps[record],
            "cosine": pair.cosines[record, column],
            **_label(pair.label),
        }


def _records(
    run: RunHistory, of: LossHistory | OptimizerHistory
) -> tuple[Counts, Counts, dict[str, Any]]:
    """Returns the positions of what is there, and the columns that any record has."""
    states: Floats = of.values[:, :, Statistic.STATE]
    record, column = np.nonzero(states != State.ABSENT)
    names = [variable.name for variable in run.variables]
    own = {
        "variable": _Coded(names, of.variables[column]),
        "step": of.steps[record],
        "wall_time": of.wall_times[record],
        "state": _Coded(_STATES, states[record, column].astype(np.int64)),
    }
    return record, column, own


def _label(label: Label) -> dict[str, Any]:
    return {
        "stage": _Coded([label.stage]),
        "batch": _Coded([label.batch]),
        "replicas": label.replicas,
        "replica": label.replica,
        "reduction": _Coded([label.reduction]),
        "clipped_by": _Coded([label.clipped]),
    }


_ROWS = {
    "gradients": _gradients,
    "clips": _clips,
    "optimizers": _optimizers,
    "cosines": _cosines,
}
