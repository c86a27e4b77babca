"""The TensorBoard side. Needs tensorboard, never TensorFlow."""
