"""Pairs of losses: what recorders stored of them, and what it comes to over all variables."""

from __future__ import annotations

import numpy as np
import pytest

from tb_gradscope.view import answers, conflicts, cosines
from tb_gradscope.view.load import load
from tests.view.logs import Cosine, Log, Loss, replica


@pytest.fixture(scope="module")
def run(logdir):
    return load(logdir).runs["parts"]


def test_pairs_are_in_the_order_of_the_losses(run):
    assert [pair.losses for pair in run.cosines] == [
        ("recon", "kl"),
        ("kl", "other"),
        ("recon", "other"),
    ]
    recon_kl, kl_other, recon_other = run.cosines
    assert recon_kl.steps.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(recon_kl.cosines[:, 0], [-0.5, -0.6, -0.7, -0.8])
    # The series has "a" as well, but these two never share it.
    assert [run.variables[i].name for i in kl_other.variables] == ["shared"]
    assert kl_other.cosines.tolist() == [[1]] * 4
    assert recon_other.cosines[:, 0].tolist() == [-1] * 4
    assert repr(recon_kl) == "<CosineHistory 'recon' and 'kl': 4 records of steps 0 to 3>"


def test_total_is_that_of_the_shared_variables(run):
    """With one variable in common, the total is its cosine: others do not water it down."""
    np.testing.assert_allclose(cosines.total(run, run.cosines[0]), [-0.5, -0.6, -0.7, -0.8])


def write(tmp_path, norms, others, values):
    """Two losses over as many variables as there are norms, and their cosines."""
    names = [f"v{i}" for i in range(len(norms))]
    one, two, pair = Loss("one", names), Loss("two", names), Cosine("two", ["one"], names)
    with Log(tmp_path) as log:
        for series in (one, two, pair):
            series.open(log, 0)
        one.record(log, 0, norms)
        two.record(log, 0, others)
        pair.record(log, 0, [values])
    run = load(tmp_path).runs["."]
    return float(cosines.total(run, run.cosines[0])[0])


def test_total_is_the_cosine_of_both_as_one_vector(tmp_path):
    """Against the two gradients as they are."""
    one, two = np.array([3.0, 4.0, 1.0]), np.array([-1.0, 2.0, 2.0])
    found = write(tmp_path, np.abs(one), np.abs(two), np.sign(one * two))
    expected = one @ two / np.linalg.norm(one) / np.linalg.norm(two)
    assert found == pytest.approx(expected, rel=1e-5)


def test_total_is_not_known_where_a_norm_is_missing(tmp_path):
    one, pair = Loss("one", ["w"]), Cosine("two", ["one"], ["w"])
    with Log(tmp_path) as log:
        for series in (one, pair):
            series.open(log, 0)
        one.record(log, 0)
        pair.record(log, 0, [[0.5]])
        pair.record(log, 1, [[0.5]])
    run = load(tmp_path).runs["."]
    assert np.isnan(cosines.total(run, run.cosines[0])).all()
    # Nothing is called "two" here; the pair is shown all the same.
    assert answers.pair_ids(run) == (("one", "two"),)


def test_order_of_asking_may_change(tmp_path):
    """The same two losses, asked for the other way round later: one pair."""
    losses = [Loss(name, ["w"]) for name in ("one", "two")]
    pairs = Cosine("two", ["one"], ["w"]), Cosine("one", ["two"], ["w"])
    with Log(tmp_path) as log:
        for series in (*losses, *pairs):
            series.open(log, 0)
        for step in range(4):
            for loss in losses:
                loss.record(log, step)
            pairs[step % 2].record(log, step, [[step / 10]])
    (pair,) = load(tmp_path).runs["."].cosines
    assert pair.losses == ("one", "two")
    np.testing.assert_allclose(pair.cosines[:, 0], [0, 0.1, 0.2, 0.3], atol=1e-7)


def test_replicas_are_compared_apart(tmp_path):
    labels = [replica(0), replica(1)]
    losses = [Loss(name, ["w"], label=label) for label in labels for name in ("one", "two")]
    pairs = [Cosine("two", ["one"], ["w"], label=label) for label in labels]
    with Log(tmp_path) as log:
        for series in (*losses, *pairs):
            series.open(log, 0)
            if series in losses:
                series.record(log, 0)
        for value, pair in zip((0.5, -0.5), pairs, strict=True):
            pair.record(log, 0, [[value]])
    run = load(tmp_path).runs["."]
    assert [cosines.total(run, pair).tolist() for pair in run.cosines] == [[0.5], [-0.5]]
    assert answers.pair_ids(run)[1] == ("one@replica1/2", "two@replica1/2")


def test_lowest_come_first_in_words(run):
    assert list(conflicts.conflicts(run)) == [
        "recon and other: mean cosine -1.00 over 4 records, -1.00 at step 3",
        "recon and kl: mean cosine -0.65 over 4 records, -0.80 at step 3",
        "kl and other: mean cosine +1.00 over 4 records, +1.00 at step 3",
    ]
