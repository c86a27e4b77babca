"""The benchmark runs, and says what it should; never how fast anything was."""

from __future__ import annotations

import json
import math
import pathlib
from typing import Any

import numpy as np
import pytest

from tests.bench.__main__ import main
from tests.bench.kernels import Executed, beyond
from tests.bench.measure import _ratio
from tests.bench.models import MODELS

WRITING = {"every1", "every10", "scalars", "histograms", "optimizer1"}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    folder: pathlib.Path = tmp_path_factory.mktemp("bench")
    options = ["--quick", "--rounds", "2", "--block", "10"]
    main([*options, "--json", str(folder / "a.json"), "--markdown", str(folder / "a.md")])
    return json.loads((folder / "a.json").read_text()), (folder / "a.md").read_text()


@pytest.mark.slow
def test_every_row_has_finite_ratios(written: tuple[dict[str, Any], str]) -> None:
    found, _ = written
    assert list(found["models"]) == ["mlp"]
    rows = found["models"]["mlp"]["rows"]
    assert [row["variant"] for row in rows] == list(MODELS["mlp"].variants)
    for row in rows:
        for ratio in (row["ratio"], row["cpu"]):
            assert 0 < ratio["low"] <= ratio["middle"] <= ratio["high"] < math.inf
        assert row["variant"] not in WRITING or row["bytes"] > 0
    assert {"cpu", "cores", "tensorflow", "date"} <= set(found["machine"])


@pytest.mark.slow
def test_steps_not_recorded_execute_hardly_more(written: tuple[dict[str, Any], str]) -> None:
    kernels = {row["variant"]: row["kernels"] for row in written[0]["models"]["mlp"]["rows"]}
    if kernels["plain"] is None:
        pytest.skip("this TensorFlow does not tell what it executes")
    assert kernels["off"] == kernels["plain"]
    assert kernels["never"] < kernels["plain"] + 25
    assert kernels["never"] < kernels["sentinel"] == kernels["every10"] < kernels["plain"] + 70
    assert kernels["every1"] > kernels["every10"]


@pytest.mark.slow
def test_the_sentinel_is_one_pass_over_each_gradient(written: tuple[dict[str, Any], str]) -> None:
    model = written[0]["models"]["mlp"]
    profiles = {row["variant"]: row["profile"] for row in model["rows"]}
    if not profiles["every1"]:
        pytest.skip("this TensorFlow does not tell what it executes")
    assert profiles["plain"] == profiles["off"] == []
    counts = {one["type"]: one["count"] for one in profiles["sentinel"]}
    assert counts["L2Loss"] == model["variables"]
    assert max(count for kind, count in counts.items() if kind != "L2Loss") < 10
    assert written[1].count("Beyond plain, ") == 2


def test_what_is_executed_beyond_plain() -> None:
    plain = {"a/Mul:Mul": Executed("Mul", 2, 20.0), "call:If": Executed("If", 1, 1.0)}
    own = {
        "a/Mul:Mul": Executed("Mul", 3, 30.0),
        "Mul:Mul": Executed("Mul", 1, 5.0),
        "b/Sum:Sum": Executed("Sum", 1, 40.0),
        "call:If": Executed("If", 2, 100.0),  # of what it calls
    }
    assert beyond(plain, own) == [Executed("Sum", 1, 40.0), Executed("Mul", 2, 15.0)]
    assert beyond(own, own) == []


@pytest.mark.slow
def test_the_table_is_aligned(written: tuple[dict[str, Any], str]) -> None:
    table = [line for line in written[1].splitlines() if line.startswith("|")]
    assert len(table) == len(MODELS["mlp"].variants) + 2
    assert len({len(line) for line in table}) == 1
    assert len({line.count("|") for line in table}) == 1


def test_turns_with_and_without_a_record_count_by_their_number() -> None:
    plain = [1.0] * 6
    own = [1.0, 1.0, 4.0, 1.0, 1.0, 4.0]
    ratio = _ratio(own, [plain, plain], [0, 0, 1, 0, 0, 1])
    np.testing.assert_allclose([ratio.low, ratio.middle, ratio.high], 2.0)


@pytest.mark.parametrize("option", ["--models=elephant", "--variants=faster", "--rounds=0"])
def test_bad_options_are_refused_in_a_sentence(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([option])
    assert "there are" in (error := capsys.readouterr().err) or "below 1" in error
