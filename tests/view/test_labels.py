"""Labels in words, and names that are unique because of them."""

from __future__ import annotations

import dataclasses
import types

import pytest

from tb_gradscope.format.history import Label
from tb_gradscope.view import labels

PLAIN = Label("raw", "whole", 1, 0, False, "user")
REPLICA = dataclasses.replace(PLAIN, replicas=4, replica=2)
REDUCED = dataclasses.replace(PLAIN, replicas=4, replica=-1)
SUM = dataclasses.replace(REDUCED, reduction="sum")
CLIPPED_MEAN = dataclasses.replace(REDUCED, reduction="mean", clipped="clip_by_norm")
SOMEWHERE = dataclasses.replace(REPLICA, reduction="unknown")
MICRO = dataclasses.replace(PLAIN, batch="micro_batch")
ACCUMULATED = dataclasses.replace(REDUCED, batch="accumulated")
UNSCALED = Label("unscaled", "micro_batch", 4, 2, True, "calls")


@pytest.mark.parametrize(
    ("label", "text"),
    [
        (PLAIN, "raw"),
        (
            UNSCALED,
            "mixed-precision loss scale removed, of one micro-batch, of replica 2 of 4, "
            "rows of the same index summed",
        ),
        (ACCUMULATED, "raw, accumulated over micro-batches, reduced over 4 replicas"),
        (SUM, "raw, summed over 4 replicas"),
        (CLIPPED_MEAN, "raw, averaged over 4 replicas, each clipped by clip_by_norm before"),
    ],
)
def test_sentence(label, text):
    assert labels.sentence(label) == text


@pytest.mark.parametrize(
    ("label", "text"),
    [
        (PLAIN, ""),
        (REPLICA, "replica 2 of 4"),
        (REDUCED, "reduced"),
        (SUM, "sum of 4 replicas"),
        (CLIPPED_MEAN, "mean of 4 replicas, clipped before"),
        (MICRO, "micro-batch"),
        (ACCUMULATED, "reduced, accumulated"),
        (UNSCALED, "replica 2 of 4, micro-batch, unscaled"),
    ],
)
def test_subtitle(label, text):
    assert labels.subtitle(label) == text


def test_subtitle_of_an_optimizer():
    assert labels.subtitle(UNSCALED, stage=False) == "replica 2 of 4, micro-batch"


@pytest.mark.parametrize(
    ("label", "text"),
    [
        (PLAIN, ""),
        (REPLICA, "before the all-reduce, on replica 2 of 4"),
        (REDUCED, "after the all-reduce over 4 replicas"),
        (SUM, "after the all-reduce over 4 replicas"),
        (SOMEWHERE, "before or after the all-reduce, on replica 2 of 4"),
        (MICRO, "before accumulation, each micro-batch by itself"),
        (ACCUMULATED, "after the all-reduce over 4 replicas, after accumulation"),
    ],
)
def test_clipping(label, text):
    assert labels.clipping(label) == text


def test_clipping_in_sentences():
    assert labels.of_clipping(PLAIN) == ""
    assert labels.of_clipping(MICRO).startswith("Clipped before accumulation, ")
    unscaled = dataclasses.replace(ACCUMULATED, stage="unscaled")
    assert labels.of_clipping(unscaled) == (
        "Clipped after the all-reduce over 4 replicas, after accumulation. "
        "Norms are without the mixed-precision loss scale."
    )


def test_ids_are_unique_and_do_not_depend_on_the_others():
    def named(name, label):
        return types.SimpleNamespace(name=name, label=label)

    known = [named("loss", PLAIN), named("loss", REPLICA), named("loss", REDUCED)]
    expected = ("loss", "loss@replica2/4", "loss@reduced/4")
    assert labels.ids(known) == expected
    assert labels.ids(known[1:]) == expected[1:]
    assert labels.ids([named("kl", ACCUMULATED)]) == ("kl@reduced/4@accumulated",)
    assert labels.ids([named("loss", SUM)]) == ("loss@sum/4",)
    assert labels.ids([named("loss", CLIPPED_MEAN)]) == ("loss@mean/4@clipped",)
    # Somebody has named a loss as we would.
    assert labels.ids([*known, named("loss@reduced/4", PLAIN)])[-1] == "loss@reduced/4'"
