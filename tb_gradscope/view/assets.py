"""The built page's files, out of `tb_gradscope/static`."""

from __future__ import annotations

import dataclasses
import pathlib
import re

STATIC = pathlib.Path(__file__).resolve().parent.parent / "static"

_MEDIA_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
    ".map": "application/json",
    ".mjs": "text/javascript",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
    ".wasm": "application/wasm",
    ".woff2": "font/woff2",
}
_PART = re.compile(r"[A-Za-z0-9_@-][A-Za-z0-9_.@-]*")
_HASHED = re.compile(r".+-[A-Za-z0-9_-]{8}\.[a-z0-9]+(\.map)?")
_YEAR = 365 * 24 * 3600

_NOT_BUILT = """\
export function render() {
  document.documentElement.lang = "en";
  const message = document.createElement("p");
  message.style.cssText = "font: 16px sans-serif; margin: 2em; color: #777";
  message.textContent =
    "GradScope's page has not been built: this TensorBoard runs from a source checkout. " +
    "Build it with `make frontend` there (or `pip install .`), then reload.";
  document.body.appendChild(message);
}
"""


@dataclasses.dataclass(frozen=True)
class Asset:
    """A file of the page. `seconds`: how long a browser may keep it without asking."""

    content: bytes
    media_type: str
    seconds: int


def find(path: str, root: pathlib.Path = STATIC) -> Asset | None:
    """Returns the file at a path below the page's folder, or None.

    Args:
      path: with slashes, as in a URL, decoded.
      root: the page's folder.
    """
    parts = path.split("/")
    # An allow-list: no way up, no hidden files, no drive letters, no backslashes.
    if not all(_PART.fullmatch(part) for part in parts):
        return None
    media_type = _MEDIA_TYPES.get(pathlib.PurePosixPath(parts[-1]).suffix)
    file = root.joinpath(*parts)
    try:
        inside = file.resolve().is_relative_to(root.resolve())
        content = file.read_bytes() if media_type and inside else None
    except (OSError, RuntimeError):
        content = None
    if content is None and path == "index.js":
        content = _NOT_BUILT.encode()
    if content is None or media_type is None:
        return None
    # The entry's name never changes; a chunk's name holds the hash of its content.
    return Asset(content, media_type, _YEAR if _HASHED.fullmatch(parts[-1]) else 0)
