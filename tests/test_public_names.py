"""The public names: lazy, typed, and clear about what they need."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import tb_gradscope as gs


@pytest.mark.parametrize("name", gs.__all__)
def test_every_name_is_there_and_documented(name):
    value = getattr(gs, name)
    assert name == "__version__" or value.__doc__


@pytest.mark.parametrize("name", gs.__all__)
def test_dir_lists_it(name):
    assert name in dir(gs)


def test_an_unknown_name():
    with pytest.raises(AttributeError, match="module 'tb_gradscope' has no attribute 'nonsense'"):
        gs.nonsense  # noqa: B018


def test_without_tensorflow_recording_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    fresh = importlib.reload(gs)
    vars(fresh).pop("GradientTape", None)
    with pytest.raises(ImportError, match=r"pip install 'tb-gradscope\[tensorflow\]'"):
        fresh.GradientTape  # noqa: B018
    assert fresh.load


def test_the_import_is_light():
    program = """
import sys, tb_gradscope
heavy = {"tensorflow", "tensorboard", "numpy", "google.protobuf", "pandas"} & set(sys.modules)
sys.exit(str(heavy) if heavy else 0)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
