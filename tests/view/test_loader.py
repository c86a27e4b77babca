"""The TBLoader: what it sets, what it leaves alone, and that it never stops TensorBoard."""

from __future__ import annotations

import argparse
import subprocess
import sys

import pytest
from tensorboard.plugins import base_plugin

from tb_gradscope.view.loader import SAMPLES, GradscopeLoader


def fixed(samples_per_plugin, *arguments):
    loader, parser = GradscopeLoader(), argparse.ArgumentParser()
    loader.define_flags(parser)
    flags = parser.parse_args(arguments)
    flags.samples_per_plugin = samples_per_plugin
    loader.fix_flags(flags)
    return flags.samples_per_plugin


@pytest.mark.parametrize(
    ("hints", "arguments", "expected"),
    [
        ({}, [], {"gradscope": SAMPLES, "gradscope_events": 0}),
        (None, [], {"gradscope": SAMPLES, "gradscope_events": 0}),
        ({"images": 3}, [], {"images": 3, "gradscope": SAMPLES, "gradscope_events": 0}),
        ({}, ["--gradscope_samples=0"], {"gradscope": 0, "gradscope_events": 0}),
        ({}, ["--gradscope_samples", "9"], {"gradscope": 9, "gradscope_events": 0}),
        ({"gradscope": 5}, ["--gradscope_samples=9"], {"gradscope": 5, "gradscope_events": 0}),
        ({"gradscope_events": 7}, [], {"gradscope": SAMPLES, "gradscope_events": 7}),
        ("gradscope=5", [], "gradscope=5"),
        (["gradscope"], [], ["gradscope"]),
    ],
)
def test_fix_flags(hints, arguments, expected):
    assert fixed(hints, *arguments) == expected


@pytest.mark.parametrize(
    ("hints", "arguments"),
    [({}, ["--gradscope_samples=-1"]), ({"gradscope": -1}, []), ({"gradscope_events": -2}, [])],
)
def test_negative_samples(hints, arguments):
    with pytest.raises(base_plugin.FlagsError, match=r"take 0 \(all\) or more, not -\d"):
        fixed(hints, *arguments)


def test_user_hints_are_not_changed_in_place():
    hints = {"images": 3}
    fixed(hints)
    assert hints == {"images": 3}


def test_nothing_gets_out():
    loader, parser = GradscopeLoader(), argparse.ArgumentParser()
    loader.define_flags(parser)
    loader.define_flags(parser)  # the flag is there already
    loader.fix_flags(argparse.Namespace())
    loader.fix_flags(object())  # takes no attributes


def test_imports_little():
    """A failing import would stop TensorBoard, a slow one every start of it."""
    program = (
        "import sys, tensorboard.plugins.base_plugin; before = set(sys.modules)\n"
        "import tb_gradscope.view.loader\n"
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}"
        " - sys.stdlib_module_names))"
    )
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert loaded.stdout.split() == ["tb_gradscope"], loaded.stderr
