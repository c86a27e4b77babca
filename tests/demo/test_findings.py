"""What each demo promises in its first lines is what its log says."""

from __future__ import annotations

import re
from typing import get_args

import numpy as np
import pytest

from demo import DEMOS, half_precision, letters, summed_clipped, vae, vanishing
from tb_gradscope.diagnose import judge
from tb_gradscope.diagnose.finding import Kind
from tb_gradscope.format.statistics import State
from tests.demo import reference

pytestmark = pytest.mark.slow
TRAINED = [name for name, demo in DEMOS.items() if not demo.crashes]
FINDINGS = {
    "separate_weights": [],
    "extra_update": [],
    "summed_clipped": [("info", "none", "unused", "loss1")],
    "gan": [],
    "vae": [("info", "none", "unused", "kl"), ("info", "conflict", None, "recon")],
    "codebook": [("warning", "none", "blocked", "recon")],
    "half_precision": [],
    "keras_fit": [
        ("warning", "domination", None, "pixels_loss"),
        ("info", "none", "unused", "digit_loss"),
        ("info", "none", "unused", "pixels_loss"),
    ],
    "vanishing": [("warning", "vanishing", None, "loss")],
    "exploding": [
        ("warning", "exploding", None, "loss"),
        ("warning", "clip_saturated", None, None),
    ],
    "healthy": [],
}


@pytest.mark.parametrize("name", DEMOS)
def test_every_demo_says_what_must_appear(name):
    assert DEMOS[name]._import().__doc__.startswith("Finding: ")
    assert DEMOS[name].finding.endswith(".")


@pytest.mark.parametrize("name", TRAINED)
def test_what_is_found_is_what_it_says(recorded, name):
    found = judge.findings(recorded(name).history)
    assert [(one.severity, one.kind, one.cause, one.loss) for one in found] == FINDINGS[name]


@pytest.mark.parametrize("name", TRAINED)
def test_the_first_line_promises_what_is_found(name):
    """No more than that: what is only said beside it need not be promised."""
    promised = set(re.findall(r"`(\w+)`", DEMOS[name].finding)) & set(get_args(Kind))
    kinds = {kind for _, kind, _, _ in FINDINGS[name]}
    alarms = {kind for severity, kind, _, _ in FINDINGS[name] if severity != "info"}
    assert alarms <= promised <= kinds
    if not kinds:
        assert re.match("nothing|no gradient is missing", DEMOS[name].finding)


@pytest.mark.parametrize("name", TRAINED)
def test_recording_is_complete(recorded, name):
    run = recorded(name)
    for loss in run.history.losses:
        # Every call up to 128, every 2nd up to 256.
        assert loss.steps.tolist() == [*range(128), *range(128, DEMOS[name].steps, 2)]
        assert loss.calls.tolist() == (loss.steps + 1).tolist()
        assert loss.where.file.endswith(".py")
        assert ".gradient(" in loss.where.code or ".fit(" in loss.where.code
        assert not loss.traced_only


def test_separate_weights(recorded):
    run = recorded("separate_weights")
    assert run.pairs(State.OK) == {("loss1", "w1"), ("loss2", "w2")}
    assert run.states() == {State.OK}
    assert {variable.name: variable.shape for variable in run.history.variables} == {
        "w1": (2, 1),
        "w2": (3, 1),
    }
    truth = reference.two_losses()
    for pair in [("loss1", "w1"), ("loss2", "w2")]:
        assert run.norms(*pair)[0] == pytest.approx(reference.norm(truth[pair]), rel=1e-5)


def test_extra_update(recorded):
    run = recorded("extra_update")
    assert run.pairs(State.OK) == {("total", "w1"), ("total", "w2"), ("loss2", "w2")}
    assert run.states() == {State.OK}
    assert run.norms("total", "w2").tolist() == run.norms("loss2", "w2").tolist()
    truth = reference.two_losses()
    both = truth["loss1", "w1"] + truth["loss2", "w1"]
    assert run.norms("total", "w1")[0] == pytest.approx(reference.norm(both), rel=1e-5)


def test_summed_clipped(recorded):
    run = recorded("summed_clipped")
    assert run.pairs(State.NONE) == {("loss1", "w2")}
    assert run.pairs(State.OK) == {("loss1", "w1"), ("loss2", "w1"), ("loss2", "w2")}
    assert run.states() == {State.OK, State.NONE}
    loss1 = run.losses["loss1"]
    assert loss1.state_counts[1, 0] == loss1.asked[1] == loss1.records == len(loss1.steps)
    for pair, truth in reference.two_losses().items():
        assert run.norms(*pair)[0] == pytest.approx(reference.norm(truth), rel=1e-5)


def test_summed_clipped_before_and_after(recorded):
    run = recorded("summed_clipped")
    truth = reference.two_losses()
    before = {"w1": truth["loss1", "w1"] + truth["loss2", "w1"], "w2": truth["loss2", "w2"]}
    seen = {}
    for clip in run.clips:
        assert clip.method == "norm"
        assert set(clip.threshold) == {summed_clipped.CLIP_NORM}
        seen |= {name: clip.norms[0, i] for i, name in enumerate(clip.variables)}
    norms = {name: reference.norm(gradient) for name, gradient in before.items()}
    assert min(norms.values()) > summed_clipped.CLIP_NORM  # as the demo says: clipped at first
    assert seen.keys() == norms.keys()
    for name, expected in norms.items():
        assert seen[name] == pytest.approx([expected, summed_clipped.CLIP_NORM], rel=1e-5)


def test_gan(recorded):
    run = recorded("gan")
    layers = {
        "gen_loss": ["generator/hidden", "generator/pixels"],
        "disc_loss": ["discriminator/hidden", "discriminator/logit"],
    }
    assert run.states() == {State.OK}
    for loss, expected in layers.items():
        weights = [f"{layer}/{kind}" for layer in expected for kind in ("kernel", "bias")]
        assert run.variables(loss) == weights
    norms = run.total("gen_loss")
    assert np.median(norms[:5]) > 100 * np.median(norms[-50:])


def test_vae(recorded):
    run = recorded("vae")
    weights = [f"{layer}/{kind}" for layer in ("hidden", "pixels") for kind in ("kernel", "bias")]
    assert run.pairs(State.NONE) == {("kl", f"decoder/{name}") for name in weights}
    assert run.states() == {State.OK, State.NONE}
    kl = run.losses["kl"]
    assert kl.state_counts[:, 0].tolist() == [0] * 4 + [len(kl.steps)] * 4
    expected = reference.norm(reference.kl_at_the_code())
    assert run.norms("kl", "encoder/code/bias")[0] == pytest.approx(expected, rel=1e-4)


def test_vae_pulls_in_two_directions(recorded):
    run = recorded("vae")
    (clip,) = run.clips
    name = "encoder/hidden/kernel"
    recon, kl = run.norms("recon", name), run.norms("kl", name)
    summed = clip.norms[:, clip.variables.index(name), 0]
    # |r + k|^2 = |r|^2 + |k|^2 + 2 |r| |k| cos
    cosine = (summed**2 - recon**2 - kl**2) / (2 * recon * kl)
    assert np.abs(cosine).max() < 1.001
    assert np.median(cosine[-90:]) < -0.3
    assert np.mean(summed[-90:] < recon[-90:]) > 0.9


def test_vae_clips_seldom(recorded):
    (clip,) = recorded("vae").clips
    assert clip.method == "global_norm"
    assert set(clip.threshold) == {vae.CLIP_NORM}
    assert 0 < clip.clipped[-1] / clip.calls[-1] < 0.2
    assert clip.nonfinite[-1] == 0
    assert clip.clipped[-1] == clip.clipped[len(clip.steps) // 2]


def test_codebook(recorded):
    run = recorded("codebook")
    (finding,) = judge.findings(run.history)
    assert finding.variables == tuple(run.variables("commitment"))
    assert finding.where.op == "ArgMin"
    assert finding.where.code == "nearest = tf.argmin(distances, axis=1)"
    assert finding.other_loss == "commitment"
    assert "straight-through" in finding.advice


def test_half_precision(recorded):
    run = recorded("half_precision")
    (loss,), (adam,) = run.history.losses, run.history.optimizers
    assert loss.label.stage == "unscaled"
    skipped = len(adam.skipped_steps)
    assert 0 < skipped < 10
    assert loss.skipped_steps.tolist() == adam.skipped_steps.tolist() == list(range(skipped))
    assert adam.loss_scales[0] == half_precision.INITIAL_SCALE
    assert adam.loss_scales[-1] == half_precision.INITIAL_SCALE / 2**skipped
    # The true gradients: a step later they are as large as at the end, whatever the scale.
    norms = run.total("loss")[skipped:]
    assert norms[0] == pytest.approx(np.median(norms[:20]), rel=3)
    assert run.clips[0].name == "adam.global_clipnorm"


def test_vanishing(recorded):
    run = recorded("vanishing")
    assert run.states() == {State.OK}
    layers = [f"deep/layer{number:02}" for number in range(1, vanishing.LAYERS + 1)]
    names = [f"{layer}/{kind}" for layer in [*layers, "deep/logits"] for kind in ("kernel", "bias")]
    assert run.variables("loss") == names
    assert (run.norms("loss", names[0]) < 1e-8 * run.norms("loss", "deep/logits/kernel")).all()
    kernels = np.array([run.norms("loss", f"{layer}/kernel") for layer in layers])
    assert (np.diff(np.median(kernels, axis=1)) > 0).all()
    for name, truth in zip(names, reference.sigmoid_stack(), strict=True):
        assert run.norms("loss", name)[0] == pytest.approx(reference.norm(truth), rel=1e-3)


def test_exploding(recorded):
    run = recorded("exploding")
    (clip,) = run.clips
    assert run.states() == {State.OK}
    assert set(clip.threshold) == {np.float32(letters.CLIP_NORM)}
    assert np.median(clip.norm_before) > 1000
    assert clip.clipped[-1] > 0.9 * clip.calls[-1]
    was_clipped = clip.norm_before > letters.CLIP_NORM
    expected = np.where(was_clipped, letters.CLIP_NORM, clip.norm_before)
    assert clip.norm_after == pytest.approx(expected, rel=1e-4)
    # The recurrent matrix is what explodes; what comes after it does not.
    wild = run.norms("loss", "letters/rnn/simple_rnn_cell/recurrent_kernel")
    assert np.median(wild) > 1000 * np.median(run.norms("loss", "letters/next/kernel"))


def test_healthy(recorded):
    run = recorded("healthy")
    (clip,) = run.clips
    assert run.states() == {State.OK}
    assert 0.01 < clip.clipped[-1] / clip.calls[-1] < 0.2
    assert clip.nonfinite[-1] == 0
    norms = np.array([run.norms("loss", name) for name in run.variables("loss")])
    assert np.median(norms.max(axis=0) / norms.min(axis=0)) < 20
    assert np.median(norms[:, -50:]) > 0.2 * np.median(norms[:, :50])


def test_exploding_and_healthy_are_the_same_network(recorded):
    wild, tame = recorded("exploding").history, recorded("healthy").history
    assert wild.variables == tame.variables
    assert wild.losses[0].label.sparse
    assert wild.losses[0].label == tame.losses[0].label


def test_keras_fit(recorded):
    run = recorded("keras_fit")
    assert run.losses.keys() == {"loss", "digit_loss", "pixels_loss"}
    assert {run.losses[part].part_of for part in ("digit_loss", "pixels_loss")} == {"loss"}
    shared = [name for name in run.variables("loss") if name.startswith("shared")]
    assert run.pairs(State.OK) == {
        *(("loss", name) for name in run.variables("loss")),
        *((part, name) for part in ("digit_loss", "pixels_loss") for name in shared),
        *(("digit_loss", f"digit/{name}") for name in ("kernel", "bias")),
        *(("pixels_loss", f"pixels/{name}") for name in ("kernel", "bias")),
    }
    ratios = np.stack(
        [run.norms("pixels_loss", name) / run.norms("digit_loss", name) for name in shared]
    )
    assert np.mean(ratios > 1000) > 0.8
