"""The training side. Needs TensorFlow, never tensorboard."""
