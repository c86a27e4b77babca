"""Text for a terminal: how wide it is, and fitting it in."""

from __future__ import annotations

import os
import re
import textwrap
import unicodedata

_WORDS = re.compile(r"[^\W_]+[\W_]*|[\W_]+")


def clean(text: str) -> str:
    """Returns text that cannot move the cursor or break a line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def place(file: str, line: int) -> str:
    """Returns a line of a program as terminals and editors open it, from here where it is below."""
    try:
        here = os.path.join(os.getcwd(), "")
    except OSError:  # it has been deleted
        here = ""
    return f"{clean(file.removeprefix(here))}:{line}"


def painted(text: str, colour: str, coloured: bool) -> str:
    """Returns text in a colour, or dim ("2"), for a terminal that shows colours."""
    return f"\x1b[{colour}m{text}\x1b[0m" if coloured and text else text


def bold(text: str, coloured: bool) -> str:
    """Returns text in bold type, for a terminal that shows colours."""
    return painted(text, "1", coloured)


def wide(text: str) -> int:
    """Returns how many columns of a terminal a text takes."""
    return sum(
        0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF")
        for c in text
    )


def shorten(text: str, width: int) -> str:
    """Returns the text, with its middle left out where it is too wide."""
    if wide(text) <= width:
        return text
    head, tail = "", ""
    for before, after in zip(text, reversed(text), strict=True):
        if wide(head + before + tail) >= width:
            break
        head += before
        if wide(head + after + tail) >= width:
            break
        tail = after + tail
    return f"{head}…{tail}"


def stacked(text: str, width: int, most: int) -> list[str]:
    """Returns text in lines of a width, broken between words.

    Args:
      text: such as a name, whose words end with "_", "/" or the like.
      width: of a line.
      most: lines; what is over is left out of the middle of the last one.
    """
    lines = [""]
    for word in _WORDS.findall(text):
        if lines[-1] and (len(lines) > most or wide((lines[-1] + word).rstrip()) > width):
            lines.append("")
        lines[-1] += word
    kept = [*lines[: most - 1], "".join(lines[most - 1 :])]
    return [shorten(line.strip(), width) for line in kept if line]


def wrapped(text: str, width: int, indent: str = "  ", hanging: str | None = None) -> str:
    """Returns the text in lines of a width.

    Args:
      text: what to say.
      width: of a line.
      indent: of the first line.
      hanging: of the later ones; twice `indent` if None.
    """
    return textwrap.fill(
        clean(text),
        max(width, 20),
        initial_indent=indent,
        subsequent_indent=indent * 2 if hanging is None else hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )


def left(text: str, width: int) -> str:
    """Returns the text, filled up on its right."""
    return text + " " * (width - wide(text))


def right(text: str, width: int) -> str:
    """Returns the text, filled up on its left."""
    return " " * (width - wide(text)) + text
