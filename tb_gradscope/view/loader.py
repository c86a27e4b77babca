"""TensorBoard's way in. Imports next to nothing: an error here would stop TensorBoard itself."""

from __future__ import annotations

import argparse
from typing import Any

from tensorboard.plugins import base_plugin

from tb_gradscope.format.tags import EVENTS_PLUGIN_NAME, PLUGIN_NAME

SAMPLES = 1000
"""Records kept of each series where the user says nothing. TensorBoard's own default is 10."""


class GradscopeLoader(base_plugin.TBLoader):  # type: ignore[misc]
    """Makes the plugin, and TensorBoard keep enough of its records.

    TensorBoard decides how much it keeps from its flags, before any plugin is
    made; so the loader changes them, unless the user did. Rare things, which
    have a plugin name of their own, are all kept.
    """

    def define_flags(self, parser: argparse.ArgumentParser) -> None:
        """Adds `--gradscope_samples`."""
        try:
            parser.add_argument_group("gradscope plugin").add_argument(
                "--gradscope_samples",
                metavar="N",
                type=int,
                default=None,
                help=f"how many records to keep of each loss (default: {SAMPLES}; 0: all of "
                "them, which may take much memory)",
            )
        except Exception:  # anything raised here stops TensorBoard
            return

    def fix_flags(self, flags: argparse.Namespace) -> None:
        """Has records and events kept, as far as the user did not say otherwise.

        Raises:
          FlagsError: a number of samples is negative.
        """
        try:
            own = getattr(flags, "gradscope_samples", None)
            hints = getattr(flags, "samples_per_plugin", None)
            for value in (own, *_own_hints(hints)):
                if isinstance(value, int) and value < 0:
                    raise base_plugin.FlagsError(
                        f"--gradscope_samples and --samples_per_plugin {PLUGIN_NAME}=N take "
                        f"0 (all) or more, not {value}."
                    )
            if hints is not None and not isinstance(hints, dict):
                return
            hints = dict(hints or {})
            hints.setdefault(PLUGIN_NAME, own if isinstance(own, int) else SAMPLES)
            hints.setdefault(EVENTS_PLUGIN_NAME, 0)
            flags.samples_per_plugin = hints
        except base_plugin.FlagsError:
            raise
        except Exception:  # anything else raised here stops TensorBoard
            return

    def load(self, context: base_plugin.TBContext) -> base_plugin.TBPlugin:
        """Returns the plugin. TensorBoard catches what this raises."""
        from tb_gradscope.view.plugin import GradscopePlugin

        return GradscopePlugin(context)


def _own_hints(hints: Any) -> list[Any]:
    if not isinstance(hints, dict):
        return []
    return [hints.get(PLUGIN_NAME), hints.get(EVENTS_PLUGIN_NAME)]
