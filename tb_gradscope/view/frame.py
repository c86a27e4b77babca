"""All of a log directory, and the same as a table for those who would rather have pandas."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from tb_gradscope.format.errors import GradscopeError
from tb_gradscope.format.history import RunHistory
from tb_gradscope.format.statistics import State, Statistic

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True, repr=False)
class History:
    """A log directory: what `tb_gradscope.load` returns.

    Attributes:
      runs: by name.
      problems: one sentence for each thing that could not be read and is of no
        one run.
    """

    runs: dict[str, RunHistory]
    problems: tuple[str, ...]

    def __repr__(self) -> str:
        if not self.runs:
            return f"History of no runs. {' '.join(self.problems)}".strip()
        count = f"{len(self.runs)} run{'s' * (len(self.runs) != 1)}"
        return f"History of {count}: {', '.join(self.runs)}; use .runs[name] or .to_pandas()"

    def to_pandas(self) -> pd.DataFrame:
        """Returns one table with a row for each run, loss, variable and step recorded.

        Columns: `run`, `loss`, `variable`, `step`, `wall_time` (seconds since the
        epoch), `state` ("ok", "none", "zero", "nan" or "inf"), and the statistics
        (see `Statistic`), which are NaN where the gradient was None.

        Raises:
          GradscopeError: pandas is not installed.
        """
        return _table(self.runs.values())


def _table(runs: Iterable[RunHistory]) -> pd.DataFrame:
    """Returns one row for each loss, variable and record."""
    try:
        import pandas as pd
    except ImportError as error:
        raise GradscopeError(
            f"to_pandas() needs pandas, which cannot be imported ({error}); "
            "install it with: pip install pandas"
        ) from error
    texts: dict[str, dict[str, int]] = {"run": {}, "loss": {}, "variable": {}}
    codes: dict[str, list[Any]] = {name: [np.zeros(0, np.int64)] for name in texts}
    steps, times = [np.zeros(0, np.int64)], [np.zeros(0, np.float64)]
    values = [np.zeros((0, len(Statistic)), np.float32)]
    for run in runs:
        names = [_code(texts["variable"], variable.name) for variable in run.variables]
        for loss in run.losses:
            record, column = np.nonzero(loss.values[:, :, Statistic.STATE] != State.ABSENT)
            columns = np.array(names, np.int64)[loss.variables]
            codes["run"].append(np.full(len(record), _code(texts["run"], run.name)))
            codes["loss"].append(np.full(len(record), _code(texts["loss"], loss.name)))
            codes["variable"].append(columns[column])
            steps.append(loss.steps[record])
            times.append(loss.wall_times[record])
            values.append(loss.values[record, column])
    numbers = np.concatenate(values)
    states = [state.name.lower() for state in State if state is not State.ABSENT]
    data: dict[str, Any] = {
        name: pd.Categorical.from_codes(np.concatenate(codes[name]), pd.Index(list(texts[name])))
        for name in texts
    }
    data["step"] = np.concatenate(steps)
    data["wall_time"] = np.concatenate(times)
    data["state"] = pd.Categorical.from_codes(
        numbers[:, Statistic.STATE].astype(np.int64), pd.Index(states)
    )
    for statistic in Statistic:
        if statistic is not Statistic.STATE:
            data[statistic.name.lower()] = numbers[:, statistic]
    return pd.DataFrame(data)


def _code(texts: dict[str, int], text: str) -> int:
    return texts.setdefault(text, len(texts))
