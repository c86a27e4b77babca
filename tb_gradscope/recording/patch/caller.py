"""Who calls a patched function: the program, Keras, or TensorFlow and tb_gradscope themselves."""

from __future__ import annotations

import os
import sys
from types import FrameType

import tensorflow as tf

from tb_gradscope.recording import PACKAGE_FOLDER

_TENSORFLOW = os.path.dirname(os.path.abspath(tf.__file__)) + os.sep
# Converted code calls everything through it.
_AUTOGRAPH = os.path.join(_TENSORFLOW, "python", "autograph") + os.sep


def calling_frame(depth: int) -> FrameType | None:
    """Returns the frame that called a patched function; None for TensorFlow and ourselves.

    Both have uses of their own for tapes and clipping, which are nobody's losses.

    Args:
      depth: frames between this function and the one asked for, as for `sys._getframe`.
    """
    frame: FrameType | None = sys._getframe(depth + 1)
    while frame is not None and frame.f_code.co_filename.startswith(_AUTOGRAPH):
        frame = frame.f_back
    if frame is None or frame.f_code.co_filename.startswith((_TENSORFLOW, PACKAGE_FOLDER)):
        return None
    return frame
