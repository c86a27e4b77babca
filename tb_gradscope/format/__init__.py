"""What is on disk, and what it means: the only bridge between recording and viewing.

Needs numpy and protobuf, nothing else.
"""
