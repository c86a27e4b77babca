"""What tests of several folders share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# Before anything imports TensorFlow: no greetings, and the CPU alone, so that numbers are
# the same everywhere. CUDA_VISIBLE_DEVICES=0 tests on a GPU.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium: one on the PATH, else Playwright's own (`make browser`)."""
    from playwright.sync_api import sync_playwright

    on_path = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    with sync_playwright() as playwright:
        # Chromium's sandbox refuses to work for root, which is who runs in containers.
        opened = playwright.chromium.launch(
            executable_path=on_path, chromium_sandbox=os.getuid() != 0
        )
        yield opened
        opened.close()
