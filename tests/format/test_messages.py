"""Schemas and events: parsed, versioned, and what the shipped descriptor is."""

from __future__ import annotations

import importlib.util
import pathlib
import subprocess
import sys

import pytest
from google.protobuf import descriptor_pb2

from tb_gradscope.format import messages
from tb_gradscope.format.errors import FormatError
from tb_gradscope.format.tags import FORMAT_VERSION

FOLDER = pathlib.Path(messages.__file__).parent


def schema(**fields):
    found = messages.Schema(version=FORMAT_VERSION, name="loß <b>", **fields)
    found.variables.add(name="x" * 300, dtype="float32", shape=[-1, 2**40], trainable=True)
    found.where.line = 7
    found.label.replica = -1
    return found


def test_round_trip():
    one = schema(kind=messages.Schema.CLIP)
    assert messages.parse(messages.Schema, one.SerializeToString()) == one
    event = messages.Event(version=1, kind=messages.Event.LOST, variables=[0, 2**31], count=2**40)
    event.states.extend([messages.Event.INF, messages.Event.OK])
    assert messages.parse(messages.Event, event.SerializeToString()) == event


def test_fields_of_later_versions_are_passed_over():
    data = schema().SerializeToString() + b"\xf8\x07\x01"  # field 127
    assert messages.parse(messages.Schema, data).name == "loß <b>"


@pytest.mark.parametrize(
    ("version", "sentence"),
    [
        (
            2,
            "A stored Schema has format version 2, this tb_gradscope reads up to 1; upgrade with: "
            "pip install --upgrade tb-gradscope",
        ),
        (
            0,
            "A stored Schema has format version 0, expected 1 to 1; the event file is damaged or "
            "was written by something else.",
        ),
    ],
)
def test_other_versions(version, sentence):
    one = schema()
    one.version = version
    with pytest.raises(FormatError) as error:
        messages.parse(messages.Schema, one.SerializeToString())
    assert str(error.value) == sentence


def test_no_message():
    with pytest.raises(FormatError) as error:
        messages.parse(messages.Event, b"\xff\xff\xff")
    assert str(error.value).startswith("A stored Event of 3 bytes cannot be parsed (")
    assert str(error.value).endswith(
        "); the event file is damaged or was written by something else."
    )
    with pytest.raises(FormatError):
        messages.parse(messages.Event, "text")


def test_descriptor_is_up_to_date(tmp_path):
    """`make proto` was run after the last change of `gradscope.proto`."""
    if importlib.util.find_spec("grpc_tools") is None:
        pytest.skip("grpcio-tools is not installed, which compiles gradscope.proto")
    path = tmp_path / "gradscope.desc"
    command = ["-m", "grpc_tools.protoc", f"-I{FOLDER}", f"--descriptor_set_out={path}"]
    subprocess.run([sys.executable, *command, str(FOLDER / "gradscope.proto")], check=True)
    built, shipped = (
        descriptor_pb2.FileDescriptorSet.FromString(one.read_bytes())
        for one in (path, FOLDER / "gradscope.desc")
    )
    for one in (*built.file, *shipped.file):
        one.ClearField("name")  # depends on the folder that protoc was called in
    assert shipped == built
