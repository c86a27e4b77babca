"""Tables that read well as Markdown and as plain text."""

from __future__ import annotations


def aligned(cells: list[list[str]], left: int) -> list[str]:
    """Returns the lines of a table; the first columns are aligned to the left."""
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    lines = [
        "| "
        + " | ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        + " |"
        for line in cells
    ]
    rule = "|".join(
        "-" * (width + 1) + ("-" if column < left else ":") for column, width in enumerate(widths)
    )
    return [lines[0], f"|{rule}|", *lines[1:]]
