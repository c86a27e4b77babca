"""Records of several series, side by side."""

from __future__ import annotations

import types

import numpy as np

from tb_gradscope.view.joined import Joined, columns_of


def part(steps, wall_times):
    return types.SimpleNamespace(
        steps=np.array(steps, np.int64), wall_times=np.array(wall_times, np.float64)
    )


PARTS = [part([0, 2], [1, 3]), part([0, 1], [2, 2.5])]
COLUMNS = [np.array([0, 1]), np.array([1, 2])]


def test_later_written_counts_where_both_have_something():
    joined = Joined(PARTS, COLUMNS, 3)
    assert joined.steps.tolist() == [0, 1, 2]
    assert joined.wall_times.tolist() == [2, 2.5, 3]
    values = [np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[5.0, 6.0], [7.0, 8.0]])]
    everywhere = [np.ones((2, 2), bool)] * 2
    assert joined.cells(values, everywhere, 0).tolist() == [[1, 5, 6], [0, 7, 8], [3, 4, 0]]
    # The later one of step 0 has nothing of the variable that both have.
    present = [everywhere[0], np.array([[False, True], [True, True]])]
    assert joined.cells(values, present, 0).tolist() == [[1, 2, 6], [0, 7, 8], [3, 4, 0]]


def test_numbers_of_records():
    joined = Joined(PARTS, COLUMNS, 3)
    counts = [np.array([9, 20]), np.array([8, 10])]
    assert joined.largest(counts).tolist() == [9, 10, 20]
    assert joined.latest(counts).tolist() == [8, 10, 20]
    # Each counts for itself: at step 1 the first has not gone on from its 9.
    assert joined.summed(counts).tolist() == [17, 19, 30]


def test_one_alone_is_itself():
    values = np.array([[1.0, 2.0], [3.0, 4.0]])
    joined = Joined(PARTS[:1], COLUMNS[:1], 2)
    assert joined.cells([values], [values > 0], 0) is values


def test_columns_are_in_the_order_first_seen():
    variables, columns = columns_of([["b", "a"], ["a", "c"]], {"a": 0, "b": 1, "c": 5})
    assert variables.tolist() == [1, 0, 5]
    assert [column.tolist() for column in columns] == [[0, 1], [1, 2]]
