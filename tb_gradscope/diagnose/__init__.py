"""Judging histories: pure functions over arrays, numpy only."""
