"""Records, schemas and events into an ordinary summary writer."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import tensorflow as tf

from tb_gradscope.format import messages, tags
from tb_gradscope.format.packing import Floats
from tb_gradscope.recording import internals


def _metadata(plugin_name: str) -> bytes:
    metadata = tf.compat.v1.SummaryMetadata(
        plugin_data=tf.compat.v1.SummaryMetadata.PluginData(
            plugin_name=plugin_name, content=tags.PLUGIN_CONTENT
        )
    )
    # TensorBoard does not show a tag without a data class. TensorFlow's copy of
    # the message may know the class by number only, hence not by name.
    metadata.data_class = 2  # DATA_CLASS_TENSOR
    return bytes(metadata.SerializeToString())


class Writer:
    """Writes to one `tf.summary` writer, in batches. Used on the host thread only.

        with writer.batch():
            writer.record(...)

    Every batch is on disk when it ends.

    Args:
      opened: returns the summary writer. Called once, at the first batch: opening a
        file starts TensorFlow, after which a program can no longer choose its devices
        or join a cluster.
    """

    def __init__(self, opened: Callable[[], Any]) -> None:
        self._opened = opened
        self._record_metadata = _metadata(tags.PLUGIN_NAME)
        self._event_metadata = _metadata(tags.EVENTS_PLUGIN_NAME)

    @functools.cached_property
    def _writer(self) -> Any:
        return self._opened()

    def batch(self) -> AbstractContextManager[None]:
        """Opens a batch; leaving it flushes the summary writer."""
        batch: AbstractContextManager[None] = self._writer.as_default()
        return batch

    def schema(self, series: str, step: int, schema: Any) -> None:
        """Writes the schema that opens a series."""
        data = schema.SerializeToString()
        _write(self._writer, tags.schema_tag(series), step, data, self._event_metadata)

    def event(self, series: str, step: int, event: Any) -> None:
        """Writes something rare that must be kept."""
        tag = tags.event_tag(series, messages.Event.Kind.Name(event.kind).lower())
        _write(self._writer, tag, step, event.SerializeToString(), self._event_metadata)

    def record(self, series: str, step: int, record: Floats) -> None:
        """Writes an encoded record."""
        _write(self._writer, tags.record_tag(series), step, record, self._record_metadata)

    def close(self) -> None:
        """Closes the summary writer, if it was opened."""
        if "_writer" in vars(self):
            self._writer.close()


def _write(writer: Any, tag: str, step: int, value: Any, metadata: bytes) -> None:
    resource = internals.summary_resource(writer)
    with tf.device("CPU:0"):
        if resource is None:
            tf.summary.write(tag, tf.constant(value), step=step, metadata=metadata)
        else:  # the same without the layers above it, in a tenth of the time
            tf.raw_ops.WriteSummary(
                writer=resource, step=step, tensor=value, tag=tag, summary_metadata=metadata
            )
