"""All of a log directory: what `tb_gradscope.load` returns."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from tb_gradscope.format.history import RunHistory
from tb_gradscope.view.tables import Table, table_of

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

    def to_pandas(self, table: Table = "gradients") -> pd.DataFrame:
        """Returns one table of all runs.

        `"gradients"`, the default, has a row for each run, loss, variable and step
        recorded. Columns: `run`, `loss`, `variable`, `step`, `wall_time` (seconds since
        the epoch), `state` ("ok", "none", "zero", "nan" or "inf"), the statistics,
        which are NaN where the gradient was None or they were not measured (see
        `Statistic`), `part_of` (the loss that this one is a summand of, or ""),
        `loss_scale`, `loss_value` and `reason` (see `Reason`).

        `"clips"` has a row for each clip site, variable and step recorded: `run`, `clip`,
        `variable`, `step`, `wall_time`, `norm_before` and `norm_after` of that gradient
        (NaN for None), and of the site as a whole `method`, `threshold`,
        `whole_norm_before`, `whole_norm_after`, `scale`, `calls`, `clipped` and
        `nonfinite` (so far), `after` (the clip site before it, or "").

        `"optimizers"` has a row for each optimizer, variable and step recorded: `run`,
        `optimizer`, `variable`, `step`, `wall_time`, `state` and `gradient_norm` of what
        reached it, `variable_norm` before the update, `update_norm`, `update_ratio` of
        these two (all three NaN where not measured), `loss_scale`, `learning_rate`,
        `applied` and `skipped` (updates so far).

        `"cosines"` has a row for each pair of losses, variable and step recorded: `run`,
        `loss`, `other_loss`, `variable`, `step`, `cosine`.

        All say which gradient it is: `stage`, `batch`, `replicas`, `replica`, `reduction`,
        and `clipped_by`, the clip site it came through before it was reduced; see `Label`.

        Args:
          table: which one.

        Raises:
          GradscopeError: pandas is not installed, or there is no such table.
        """
        return table_of(self.runs.values(), table)
