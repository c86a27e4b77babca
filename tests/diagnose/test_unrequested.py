"""Variables that took part and that nobody asks for; and those that no gradient is possible of."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tb_gradscope.diagnose.thresholds import Thresholds
from tb_gradscope.diagnose.unrequested import unrequested
from tests.diagnose import histories


def found(*left_out, norms=((1.0, 1.0),) * 5):
    loss = dataclasses.replace(histories.loss(norms), unrequested=left_out)
    return list(unrequested(histories.run(loss), Thresholds()))


def of_dtype(dtype):
    return dataclasses.replace(histories.variable(f"of_{dtype}", ()), dtype=dtype)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64", "complex64"])
def test_a_variable_that_is_left_out_is_only_said(dtype):
    (one,) = found(of_dtype(dtype), of_dtype("int64"))
    assert (one.severity, one.variables) == ("info", (f"of_{dtype}",))
    assert one.message.startswith(f"of_{dtype} took part under the tape of loss, but no gradient()")


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8", "bool", "string"])
def test_what_has_no_gradient_need_not_be_asked_for(dtype):
    assert not found(of_dtype(dtype))


def test_an_empty_list_is_an_error():
    (one,) = found(of_dtype("float32"), norms=np.ones((5, 0)))
    assert one.severity == "error"
    assert not found(of_dtype("int64"), norms=np.ones((5, 0)))
