"""Which versions are put together."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Cell:
    """One environment.

    Attributes:
      name: of its folder too.
      python: "3.10"; which patch version does not matter.
      requirements: beside tb-gradscope, for pip. What they leave open is the
        newest that fits.
      trains: it has TensorFlow. The whole suite runs, and a log is made; the
        others show those logs.
    """

    name: str
    python: str
    requirements: tuple[str, ...]
    trains: bool = True


_OLDEST = ("tensorflow==2.16.*", "keras==3.3.*", "tensorboard==2.16.*", "protobuf==4.25.0")
_NEWEST = ("tensorflow==2.21.*", "tensorboard==2.21.*", "protobuf>=7")

CELLS = (
    Cell("oldest", "3.10", _OLDEST),
    Cell("newest", "3.13", _NEWEST),
    Cell("old-tensorflow", "3.12", ("tensorflow==2.16.*", "tensorboard==2.16.*")),
    Cell("new-tensorflow", "3.11", ("tensorflow==2.21.*", "tensorboard==2.21.*")),
    # TensorBoard 2.16 itself does not start with NumPy 2.
    Cell(
        "oldest-viewer",
        "3.10",
        ("tensorboard==2.16.*", "protobuf==4.25.0", "numpy<2"),
        trains=False,
    ),
    Cell("newest-viewer", "3.13", ("tensorboard==2.21.*", "protobuf>=7"), trains=False),
)
