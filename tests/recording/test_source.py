"""Code that is not in a plain file, or is so no more: no crash, and no line that is wrong."""

from __future__ import annotations

import importlib
import linecache
import sys
import zipfile

import pytest
import tensorflow as tf

from tb_gradscope.diagnose.judge import findings

PROGRAM = """\
import tensorflow as tf
import tb_gradscope as gs

w = tf.Variable([[1.0], [2.0]])


def step():
    with gs.GradientTape() as tape:
        scores = tf.constant([[{number}.0, 2.0]]) @ w
        hard = tf.round(scores)
        loss = tf.reduce_sum(hard)
    return tape.gradient(loss, [w])
"""
LINE, CODE = 10, "hard = tf.round(scores)"
MODES = pytest.mark.parametrize(
    "wrap", [lambda step: step, tf.function(autograph=False)], ids=["eager", "tf.function"]
)
_number = iter(range(1000))


def program():
    """A text of its own each time: equal code is converted, and compiled, once."""
    return PROGRAM.format(number=next(_number))


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module in a file, loaded."""
    name = f"gradscope_program_{next(_number)}"
    file = tmp_path / f"{name}.py"
    file.write_text(program())
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield importlib.import_module(name)
    del sys.modules[name]


def found_in(step, recorded):
    step()
    (finding,) = findings(recorded())
    assert (finding.kind, finding.cause, finding.where.op) == ("none", "blocked", "Round")
    assert finding.where.line == LINE
    return finding


@MODES
def test_a_file(wrap, module, recorded):
    found = found_in(wrap(module.step), recorded)
    assert (found.where.file, found.where.code) == (module.__file__, CODE)


@MODES
def test_a_file_edited_since(wrap, module, recorded):
    with open(module.__file__, "r+") as file:
        text = file.read()
        file.seek(0)
        file.write("# A line more.\n# And one more.\n" + text)
    found = found_in(wrap(module.step), recorded)
    assert (found.where.file, found.where.code) == (module.__file__, "")
    assert (found.loss, found.variables) == ("loss", ("w",))


@MODES
def test_a_file_deleted_since(wrap, module, recorded, tmp_path):
    (tmp_path / f"{module.__name__}.py").unlink()
    found = found_in(wrap(module.step), recorded)
    assert (found.where.file, found.where.code) == (module.__file__, "")


@MODES
def test_a_module_in_a_zip(wrap, recorded, tmp_path, monkeypatch):
    archive = tmp_path / "library.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("gradscope_zipped.py", program())
    monkeypatch.syspath_prepend(archive)
    module = importlib.import_module("gradscope_zipped")
    try:
        found = found_in(wrap(module.step), recorded)
    finally:
        del sys.modules["gradscope_zipped"]
    assert (found.where.file, found.where.code) == (module.__file__, CODE)


@MODES
@pytest.mark.parametrize("file", ["<string>", "/no/such/file.py"])
def test_exec(file, wrap, recorded):
    scope = {}
    exec(compile(program(), file, "exec"), scope)
    found = found_in(wrap(scope["step"]), recorded)
    assert (found.where.file, found.where.code) == (file, "")
    assert (found.loss, found.variables) == ("loss", ("w",))


@MODES
def test_a_cell_of_a_notebook(wrap, recorded):
    """IPython puts the text of a cell where Python looks for lines."""
    text, file = program(), f"/tmp/ipykernel_{next(_number)}/1234.py"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    scope = {}
    exec(compile(text, file, "exec"), scope)
    try:
        found = found_in(wrap(scope["step"]), recorded)
    finally:
        del linecache.cache[file]
    assert (found.where.file, found.where.code) == (file, CODE)
