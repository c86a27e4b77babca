"""What is measured of a gradient, as TensorFlow operations."""
