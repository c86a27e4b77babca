"""Keras optimizers: what reached them, and the updates that they made."""
