"""Reading through a data provider, here one that fails, counts, or is too large."""

from __future__ import annotations

import collections

import numpy as np
import pytest
from tensorboard import errors
from tensorboard.data import provider

from tb_gradscope.format import tags
from tb_gradscope.view.eventfiles import EventFiles
from tb_gradscope.view.history import Histories
from tb_gradscope.view.provider import Source, _tame, new_cache
from tests.view.logs import Log, Loss


def data(*steps):
    return [provider.TensorDatum(step, float(i), np.array(i)) for i, step in enumerate(steps)]


@pytest.mark.parametrize(
    ("steps", "kept"),
    [
        ([], []),
        ([5], [0]),
        ([0, 1, 2], [0, 1, 2]),
        ([0, 0, 0], [2]),
        ([0, 1, 2, 1, 2, 3], [0, 3, 4, 5]),
        ([9, 8, 7], [2]),
        ([0, 5, 3, 4, 5, -1], [5]),
    ],
)
def test_tame(steps, kept):
    column = _tame(data(*steps), True)
    assert [int(value) for value in column.values] == kept
    assert column.steps.tolist() == [steps[i] for i in kept]
    assert column.wall_times.tolist() == kept


class Provider(EventFiles):
    """A data provider that notes what it is asked, and fails where told to."""

    def __init__(self, directory):
        super().__init__(str(directory))
        self.read, self.listed, self.fail, self.limit = [], 0, None, None

    def list_tensors(self, ctx, **keywords):
        self.listed += 1
        return super().list_tensors(ctx, **keywords)

    def read_tensors(self, ctx, *, downsample, run_tag_filter, **keywords):
        found = super().read_tensors(
            ctx, downsample=downsample, run_tag_filter=run_tag_filter, **keywords
        )
        self.read += run_tag_filter.tags
        if self.fail is not None and self.fail[0] & set(run_tag_filter.tags):
            raise self.fail[1]
        for series in found.values():
            for tag, values in series.items():
                if self.limit and len(values) > self.limit:
                    raise RuntimeError(f"StatusCode.RESOURCE_EXHAUSTED: {tag} larger than max")
        return found


@pytest.fixture
def loss():
    return Loss("loss", ["a"])


@pytest.fixture
def logged(tmp_path, loss):
    with Log(tmp_path) as log:
        loss.open(log, 0)
        for step in range(20):
            loss.record(log, step)
    return tmp_path


def run_of(histories):
    source = histories.source()
    listing = histories.listing(source)
    return histories.run(source, ".", listing["."])


def test_each_tag_is_read_once(logged, loss):
    stored = Provider(logged)
    histories = Histories(stored)
    first = run_of(histories)
    assert run_of(histories) is first
    source = histories.source()
    summary = histories.summary(source, ".", source.listing()["."])
    assert summary == histories.summary(source, ".", source.listing()["."])
    counts = collections.Counter(stored.read)
    assert counts == {tags.schema_tag(loss.series): 1, tags.record_tag(loss.series): 2}


def test_listing_is_remembered_for_numbers_only(logged):
    stored = Provider(logged)
    histories = Histories(stored)
    source = histories.source()
    histories.listing(source)
    assert stored.listed == 2  # records and rare things
    histories.listing(source, recent=True)
    assert stored.listed == 2
    histories.listing(source)
    assert stored.listed == 4
    histories.listing(source, audience="another", recent=True)
    assert stored.listed == 6


def test_too_large_for_one_call(logged):
    stored = Provider(logged)
    stored.limit = 5
    run = run_of(Histories(stored))
    assert 0 < len(run.losses[0].steps) <= 5
    assert run.losses[0].steps[-1] == 19
    (problem,) = run.problems
    assert "its records are too large to be read at once, so only" in problem


def test_passing_failure_is_tried_again(logged, loss):
    stored = Provider(logged)
    stored.fail = {tags.record_tag(loss.series)}, ConnectionError("UNAVAILABLE\nmore")
    histories = Histories(stored)
    run = run_of(histories)
    assert run.problems == (
        "Loss 'loss': its records could not be read: ConnectionError: UNAVAILABLE",
    )
    stored.fail = None
    run = run_of(histories)
    assert run.problems == ()
    assert len(run.losses[0].steps) == 20


def test_public_errors_are_passed_on(logged, loss):
    stored = Provider(logged)
    stored.fail = {tags.record_tag(loss.series)}, errors.PermissionDeniedError("no")
    source = Source(stored, new_cache())
    with pytest.raises(errors.PermissionDeniedError):
        source.column(".", tags.record_tag(loss.series), tags.PLUGIN_NAME)


def test_all_data_classes_of_others_are_left_alone(tmp_path):
    with Log(tmp_path) as log:
        log.put(0, "gradscope/record/0123", np.float32(1), "somebody_else")
        log.put(0, "loss", np.float32(1), tags.PLUGIN_NAME)
    assert Source(Provider(tmp_path), new_cache()).listing() == {}
