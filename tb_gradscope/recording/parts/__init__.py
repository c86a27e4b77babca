"""Losses of one step beside each other: the parts of a sum, and the cosines between losses."""
