"""Static files: those of the page, and nothing else on the disk."""

from __future__ import annotations

import pytest

from tb_gradscope.view import assets


@pytest.fixture
def root(tmp_path):
    (tmp_path / "secret.js").write_text("secret")
    root = tmp_path / "static"
    (root / "sub").mkdir(parents=True)
    (root / "index.js").write_text("export function render() {}")
    (root / "chunk-Ab3_d-9Z.js").write_text("chunk")
    (root / "sub" / "style.css").write_text("body {}")
    (root / "program.exe").write_text("exe")
    (root / ".hidden.js").write_text("hidden")
    (root / "way_out.js").symlink_to(tmp_path / "secret.js")
    return root


@pytest.mark.parametrize(
    ("path", "content", "media_type", "kept"),
    [
        ("index.js", b"export function render() {}", "text/javascript", False),
        ("chunk-Ab3_d-9Z.js", b"chunk", "text/javascript", True),
        ("sub/style.css", b"body {}", "text/css", False),
    ],
)
def test_found(root, path, content, media_type, kept):
    asset = assets.find(path, root)
    assert (asset.content, asset.media_type) == (content, media_type)
    assert bool(asset.seconds) == kept


@pytest.mark.parametrize(
    "path",
    [
        "",
        ".",
        "..",
        "../secret.js",
        "sub/../../secret.js",
        "sub/../index.js",
        "./index.js",
        "//index.js",
        "/index.js",
        "/etc/passwd",
        "..\\secret.js",
        "sub\\style.css",
        "C:secret.js",
        "index.js\0.css",
        "index.js ",
        "%2e%2e/secret.js",
        ".hidden.js",
        "way_out.js",
        "program.exe",
        "sub",
        "sub/",
        "nothing.js",
        "x" * 5000 + ".js",
    ],
)
def test_not_found(root, path):
    assert assets.find(path, root) is None


def test_page_that_was_never_built(tmp_path):
    asset = assets.find("index.js", tmp_path / "static")
    assert b"export function render()" in asset.content
    assert b"make frontend" in asset.content
    assert asset.media_type == "text/javascript"
    assert asset.seconds == 0
    assert assets.find("other.js", tmp_path / "static") is None
