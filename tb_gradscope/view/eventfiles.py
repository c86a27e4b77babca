"""A log directory as a data provider, without a TensorBoard around it.

TensorBoard's own reader imports all of TensorFlow where that is installed, and
where it is not takes 6 s for 60 MB, most of it for checksums in Python. Only
our own tags are kept here, and a record's checksum is checked where it matters
most: on its length.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import Any, BinaryIO

from tensorboard.compat.proto import event_pb2
from tensorboard.data import provider
from tensorboard.util import tensor_util

from tb_gradscope.format.tags import EVENTS_PLUGIN_NAME, PLUGIN_NAME, split_tag

_LENGTH = struct.Struct("<QI")
_PLUGINS = (PLUGIN_NAME, EVENTS_PLUGIN_NAME)


class EventFiles:
    """Everything of ours below a directory, with the part of a data provider that we use.

    Attributes:
      files: how many event files were found.
      problems: by run, a sentence for each thing that could not be read.
    """

    def __init__(self, directory: str) -> None:
        """Reads the directory.

        Raises:
          OSError: it cannot be listed.
        """
        self.files = 0
        self.problems: dict[str, list[str]] = {}
        self._series: dict[str, dict[str, tuple[str, list[Any]]]] = {}
        for run, path in event_files(directory):
            self.files += 1
            try:
                with open(path, "rb") as file:
                    self._read(run, file)
            except (OSError, ValueError) as error:
                self.problems.setdefault(run, []).append(
                    f"{os.path.basename(path)} could be read only in part: {error}"
                )

    def list_tensors(self, ctx: Any, *, experiment_id: str, plugin_name: str) -> Any:
        """Returns the series by run and tag, as a data provider does."""
        return {
            run: {
                tag: provider.TensorTimeSeries(
                    max_step=max(one[0] for one in stored),
                    max_wall_time=max(one[1] for one in stored),
                    plugin_content=b"",
                    description="",
                    display_name="",
                )
                for tag, (plugin, stored) in tags.items()
                if plugin == plugin_name
            }
            for run, tags in self._series.items()
        }

    def read_tensors(
        self,
        ctx: Any,
        *,
        experiment_id: str,
        plugin_name: str,
        downsample: int,
        run_tag_filter: provider.RunTagFilter,
    ) -> Any:
        """Returns what is stored, as a data provider does; `downsample` is 1 or everything."""
        return {
            run: {
                tag: [_datum(one) for one in self._series[run][tag][1][-downsample:]]
                for tag in run_tag_filter.tags
                if tag in self._series[run]
            }
            for run in run_tag_filter.runs
            if run in self._series
        }

    def _read(self, run: str, file: BinaryIO) -> None:
        for record in _records(file):
            try:
                event = event_pb2.Event.FromString(record)
            except Exception as error:  # protobuf's, which differ between its implementations
                raise ValueError(f"it holds something that is no event ({error}).") from error
            for value in event.summary.value:
                if split_tag(value.tag) is None:
                    continue
                # As in TensorBoard, what the first value of a tag says holds for all.
                plugin = value.metadata.plugin_data.plugin_name
                tags = self._series.setdefault(run, {})
                if value.tag in tags or plugin in _PLUGINS:
                    tags.setdefault(value.tag, (plugin, []))[1].append(
                        (event.step, event.wall_time, value.tensor)
                    )


def event_files(directory: str) -> Iterator[tuple[str, str]]:
    """Yields run and path of each event file, in the order in which they were begun."""

    def fail(error: OSError) -> None:
        if error.filename == directory:
            raise error

    seen = set[str]()
    for folder, folders, files in os.walk(directory, followlinks=True, onerror=fail):
        real = os.path.realpath(folder)
        if real in seen:  # a link that leads back up
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        run = os.path.relpath(folder, directory).replace(os.sep, "/")
        for name in sorted(files):
            if "tfevents" in name and not name.endswith(".profile-empty"):
                yield run, os.path.join(folder, name)


def _records(file: BinaryIO) -> Iterator[bytes]:
    """Yields the records of a TFRecord file up to where it ends, or was cut off."""
    while True:
        head = file.read(_LENGTH.size)
        if len(head) < _LENGTH.size:
            return
        length, checksum = _LENGTH.unpack(head)
        if _masked_crc32c(head[:8]) != checksum:
            raise ValueError(f"it is damaged at byte {file.tell() - _LENGTH.size}.")
        record = file.read(length + 4)
        if len(record) < length + 4:
            return
        yield record[:length]


def _masked_crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _datum(stored: tuple[int, float, Any]) -> provider.TensorDatum:
    step, wall_time, tensor = stored
    return provider.TensorDatum(step, wall_time, tensor_util.make_ndarray(tensor))
