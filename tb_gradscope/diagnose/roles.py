"""What a variable is to its layer, since kernels are compared with kernels."""

from __future__ import annotations

import re
from typing import Literal

from tb_gradscope.format.history import Variable

Role = Literal["kernel", "recurrent", "attention", "embedding", "normalization", "bias", "other"]

_NORMALIZATION = re.compile(r"(^|[/._])(gamma|beta|scale)(:\d+)?$|norm", re.IGNORECASE)
_EMBEDDING = re.compile(r"embed", re.IGNORECASE)
_ATTENTION = re.compile(r"attention|(^|[/._])(query|key|value|q|k|v)[/._]", re.IGNORECASE)
_RECURRENT = re.compile(r"recurrent|(^|[/._])(lstm|gru|rnn)[a-z]*_?cell", re.IGNORECASE)
_BIAS = re.compile(r"bias(_\d+)?$|(^|[/._])b\d*$", re.IGNORECASE)


def role(variable: Variable) -> Role:
    """Returns the role, by the name and the rank."""
    rank = len(variable.shape)
    if variable.kind == "tensor":
        return "other"
    if _BIAS.search(variable.name):  # that of an attention layer has a rank of 2
        return "bias"
    if rank <= 1:
        if _NORMALIZATION.search(variable.name):
            return "normalization"
        return "bias" if rank == 1 else "other"
    if _EMBEDDING.search(variable.name):
        return "embedding"
    if _RECURRENT.search(variable.name):
        return "recurrent"
    if _ATTENTION.search(variable.name):
        return "attention"
    return "kernel"
