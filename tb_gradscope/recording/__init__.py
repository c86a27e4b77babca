"""The training side. Needs TensorFlow, never tensorboard."""

import os as _os

# Where frames are ours, and not the program's.
PACKAGE_FOLDER = _os.path.dirname(_os.path.dirname(_os.path.abspath(__file__))) + _os.sep
