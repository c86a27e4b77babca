"""Replicas and workers: which one runs here, and gradients reduced over them."""
