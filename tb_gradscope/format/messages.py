"""The messages of `gradscope.proto`, built at run time from its descriptor.

No generated code: that ties a package to one major version of protobuf, while
TensorFlow 2.16 to 2.21 and TensorBoard between them allow 4.25 to 7. The
descriptor lives in a pool of its own, so that nothing can clash with it.
"""

from __future__ import annotations

from importlib import resources
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message

from tb_gradscope.format.errors import FormatError
from tb_gradscope.format.tags import FORMAT_VERSION

_POOL = descriptor_pool.DescriptorPool()
_FILES = descriptor_pb2.FileDescriptorSet.FromString(
    resources.files(__package__).joinpath("gradscope.desc").read_bytes()
)
for _file in _FILES.file:
    _POOL.AddSerializedFile(_file.SerializeToString())


def _message(name: str) -> Any:
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"tb_gradscope.{name}"))


Place = _message("Place")
Variable = _message("Variable")
Label = _message("Label")
Clip = _message("Clip")
Optimizer = _message("Optimizer")
Schema = _message("Schema")
Cause = _message("Cause")
Event = _message("Event")


def parse(kind: Any, data: bytes) -> Any:
    """Parses a stored `Schema` or `Event`.

    Args:
      kind: the message class.
      data: what was stored.

    Raises:
      FormatError: the bytes are no such message, or a newer version's.
    """
    name = kind.DESCRIPTOR.name
    try:
        message: Message = kind.FromString(data)
    except (DecodeError, TypeError) as error:
        raise FormatError(
            f"A stored {name} of {len(data)} bytes cannot be parsed ({error}); "
            "the event file is damaged or was written by something else."
        ) from error
    check_version(name, message.version)  # type: ignore[attr-defined]
    return message


def check_version(name: str, version: float) -> None:
    """Raises FormatError unless data of this version can be read here."""
    if version == FORMAT_VERSION:
        return
    if version > FORMAT_VERSION:
        raise FormatError(
            f"A stored {name} has format version {version:g}, this tb_gradscope reads up to "
            f"{FORMAT_VERSION}; upgrade with: pip install --upgrade tb-gradscope"
        )
    raise FormatError(
        f"A stored {name} has format version {version:g}, expected 1 to {FORMAT_VERSION}; "
        "the event file is damaged or was written by something else."
    )
