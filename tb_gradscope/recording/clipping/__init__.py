"""Clipping, recorded: what went in, what came out."""
