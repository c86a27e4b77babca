"""The page in a real Chromium, inside a real TensorBoard, over real event files."""

from __future__ import annotations

import pathlib
import re
import urllib.parse
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, FrameLocator, Locator, Page, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from tb_gradscope.format.statistics import State
from tests.e2e import page_logs
from tests.e2e.page_logs import HOSTILE, HOSTILE_LOSS, HOSTILE_RUN, HOSTILE_SITE, KL, RECON
from tests.view.logs import Log, Loss
from tests.view.server import Server

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PATIENCE_MS = 20_000
SIGNS = {State.NONE: "None", State.ZERO: "0", State.NAN: "NaN", State.INF: "∞"}
expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def logdir(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return tmp_path_factory.mktemp("logs")


@pytest.fixture(scope="module")
def server(logdir: pathlib.Path) -> Iterator[Server]:
    page_logs.write(logdir)
    started = Server("--logdir", logdir)
    runs = ["train", "wide", "crashed", "flicker", "multi", "replicas", "columns", HOSTILE_RUN]
    yield started.wait(runs)
    started.stop()


@pytest.fixture
def wrong() -> list[str]:
    """What went wrong in the page. A test that means it to takes it out."""
    return []


@pytest.fixture
def page(browser: Browser, wrong: list[str]) -> Iterator[Page]:
    """A fresh page. Whatever goes wrong in it fails the test."""
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    context.set_default_timeout(PATIENCE_MS)
    opened = context.new_page()
    opened.on(
        "console",
        lambda said: said.type == "error" and wrong.append(f"{said.text} {said.location}"),
    )
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
    yield opened
    context.close()
    assert wrong == []


def open_tab(page: Page, server: Server, **state: Any) -> FrameLocator:
    """Opens TensorBoard at our tab; returns what is in the tab."""
    quoted = (f"&p.gradscope.{k}={urllib.parse.quote(str(v), '')}" for k, v in state.items())
    page.goto(f"{server.url}#gradscope{''.join(quoted)}")
    return page.frame_locator("iframe[src*='name=gradscope']")


def cell(frame: FrameLocator, loss: str, variable: str) -> Locator:
    return frame.get_by_role("gridcell", name=f"{loss}, {variable}:")


def row_names(frame: FrameLocator) -> list[str | None]:
    # Heads of layers are row headers too, but have no place of their own in the grid.
    rows = frame.locator("tbody th[data-at]")
    return [row.get_attribute("aria-label") for row in rows.all()]


def step_of(frame: FrameLocator) -> Locator:
    return frame.locator(".step-name strong")


def test_each_cell_says_its_state(page: Page, server: Server) -> None:
    frame = open_tab(page, server, run="train", step=20)
    for loss, cells in {"recon": {k: v[2] for k, v in RECON.items()}, "kl": KL}.items():
        for variable, expected in cells.items():
            shown = cell(frame, loss, variable)
            if isinstance(expected, State):
                expect(shown).to_have_text(SIGNS[expected])
            else:
                expect(shown).to_have_text(re.compile(r"^[\d.]+(e-\d+)?$"))
                assert float(shown.inner_text()) == pytest.approx(expected, rel=0.05)
    expect(cell(frame, "kl", "codebook")).to_have_text("·")
    expect(cell(frame, "recon", "whole gradient")).to_have_text("NaN")
    # 3e-4 and 2e-7; what is None counts nothing.
    expect(cell(frame, "kl", "whole gradient")).to_have_text("3.0e-4")


def test_slider_moves_by_keyboard(page: Page, server: Server) -> None:
    frame = open_tab(page, server, run="train")
    slider = frame.get_by_role("slider", name="Step")
    expect(slider).to_have_attribute("aria-valuetext", "step 40, 5 of 5 recorded")
    expect(cell(frame, "recon", "dec/kernel")).to_have_text("∞")
    slider.focus()
    page.keyboard.press("Home")
    expect(step_of(frame)).to_have_text("0")
    expect(cell(frame, "recon", "enc/kernel")).to_have_text("1.0")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(step_of(frame)).to_have_text("20")
    expect(cell(frame, "recon", "dec/kernel")).to_have_text("NaN")
    frame.get_by_role("button", name="Previous recorded step").click()
    expect(cell(frame, "recon", "codebook")).to_have_text("2.0")


def test_tooltip_tells_all_by_mouse_and_keyboard(page: Page, server: Server) -> None:
    frame = open_tab(page, server, run="train", step=40)
    tip = frame.get_by_role("tooltip")
    cell(frame, "kl", "enc/kernel").hover()
    expect(tip).to_contain_text("as of step 20")
    expect(tip).to_contain_text("L2 norm3.000e-4")
    expect(tip).to_contain_text("float32")
    expect(tip).to_contain_text("fine in all 2 records shown so far")
    frame.get_by_role("searchbox").hover()
    expect(tip).to_have_count(0)
    frame.get_by_role("columnheader", name="Variable").focus()
    for _ in range(3):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    expect(cell(frame, "recon", "dec/kernel")).to_be_focused()
    expect(tip).to_contain_text("contains infinity")
    expect(tip).to_contain_text("NaN 1, Inf 1 of 5 records shown so far")
    page.keyboard.press("Escape")
    expect(tip).to_have_count(0)


def test_filter_and_sort(page: Page, server: Server) -> None:
    frame = open_tab(page, server, run="train", step=20)
    box = frame.get_by_role("searchbox")
    box.fill("KERNEL$")
    expect(frame.get_by_text("2 of 5 variables")).to_be_visible()
    assert row_names(frame) == ["enc/kernel", "dec/kernel"]
    box.fill("(")
    expect(frame.get_by_text("Not a regular expression")).to_be_visible()
    assert len(row_names(frame)) == 5
    box.fill("")
    frame.get_by_label("Sort").select_option("worst state")
    expect(frame.locator("tbody th[data-at]").first).to_have_text("dec/kernel")
    frame.get_by_label("Sort").select_option("name")
    expect(frame.locator("tbody th[data-at]").first).to_have_text("codebook")
    frame.get_by_role("columnheader", name="recon").click()
    expect(frame.get_by_role("columnheader", name="recon")).to_have_attribute(
        "aria-sort", "descending"
    )
    expect(frame.locator("tbody th[data-at]").first).to_have_text("dec/kernel")
    assert row_names(frame) == ["dec/kernel", "enc/kernel", "enc/bias", "dec/bias", "codebook"]


def test_many_rows_exist_only_where_one_looks(page: Page, server: Server) -> None:
    frame = open_tab(page, server, run="wide")
    expect(frame.get_by_role("grid")).to_have_attribute("aria-rowcount", "602")
    assert len(row_names(frame)) < 60
    expect(frame.locator(".minimap canvas")).to_be_visible()
    frame.get_by_role("columnheader", name="Variable").focus()
    page.keyboard.press("Control+End")
    expect(cell(frame, "loss", "block_199/bias")).to_be_focused()
    page.keyboard.press("Control+Home")
    expect(frame.get_by_role("rowheader", name="block_0/kernel")).to_be_focused()
    # The minimap's 75 %: the block with the NaN.
    box = frame.locator(".minimap").bounding_box()
    assert box
    page.mouse.click(box["x"] + 10, box["y"] + box["height"] * 0.755)
    expect(cell(frame, "loss", "block_150/bias")).to_have_text("NaN")


def test_a_cell_over_time(page: Page, server: Server) -> None:
    frame = open_tab(page, server, run="train", step=20)
    cell(frame, "recon", "dec/kernel").click()
    detail = frame.get_by_role("complementary", name="Detail")
    expect(detail.get_by_role("heading", name="dec/kernel")).to_be_visible()
    # uPlot draws on a canvas; what it cannot draw is in words below.
    expect(detail.locator(".chart canvas")).to_be_visible()
    states = detail.get_by_role("group", name=re.compile("^States"))
    expect(states).to_have_attribute(
        "aria-label",
        "States: recon: NaN at step 20 (1 record), Inf at step 40 (1 record); "
        "kl: None at steps 0 to 20 (2 records)",
    )
    expect(detail.get_by_role("table").get_by_text("contains NaN")).to_be_visible()
    chart = detail.locator(".u-over").bounding_box()
    assert chart
    page.mouse.click(chart["x"] + chart["width"] * 0.74, chart["y"] + 30)
    expect(step_of(frame)).to_have_text("30")
    detail.get_by_role("button", name="Show as table").click()
    rows = detail.get_by_role("region", name="Norms as a table").get_by_role("row")
    expected = ["Stepreconkl", "00.5000None", "100.5000", "20NaNNone", "300.5000", "40∞"]
    expect(rows).to_have_text(expected)
    page.keyboard.press("Escape")
    expect(detail).to_have_count(0)


def test_values_under_the_pointer(page: Page, server: Server) -> None:
    frame = open_tab(page, server, run="train", variable="dec/kernel")
    chart = frame.locator(".u-over").bounding_box()
    assert chart
    readout = frame.locator(".readout")
    # Of five steps the first, of which there are numbers, and the middle, where there is none.
    page.mouse.move(chart["x"] + 3, chart["y"] + 30)
    expect(readout).to_have_text("step 0recon0.5000klNone")
    page.mouse.move(chart["x"] + chart["width"] * 0.5, chart["y"] + 30)
    expect(readout).to_have_text("step 20reconNaNklNone")
    page.mouse.move(chart["x"] + chart["width"] * 0.5, chart["y"] - 60)
    expect(readout).to_have_count(0)


def test_records_without_neighbours_are_drawn(page: Page, server: Server) -> None:
    frame = open_tab(page, server, run="flicker")
    canvas = frame.locator(".chart canvas")
    expect(canvas).to_be_visible()
    color = frame.locator(".keys .swatch").first.evaluate("e => getComputedStyle(e).borderTopColor")
    drawn = canvas.evaluate(
        """(canvas, color) => {
          const { width, height } = canvas;
          const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
          let count = 0;
          for (let i = 0; i < data.length; i += 4)
            if (`rgb(${data[i]}, ${data[i + 1]}, ${data[i + 2]})` === color) count++;
          return count;
        }""",
        color,
    )
    # 61 points of 5 pixels across, some of which may touch.
    assert drawn > 61 * 8


def test_a_whole_gradient_of_none_is_not_zero(page: Page, server: Server) -> None:
    frame = open_tab(page, server, run="flicker", step=3)
    expect(cell(frame, "loss", "whole gradient")).to_have_text("None")
    # Of a loss that was only traced, not all is known.
    expect(frame.get_by_role("gridcell", name="traced, whole gradient:")).to_have_text("·")
    states = frame.get_by_role("group", name=re.compile("^States"))
    expect(states).to_have_attribute("aria-label", re.compile("^States: loss: None at step 1 "))
    expect(states).not_to_have_attribute("aria-label", re.compile("zero|traced"))
    frame.get_by_role("button", name="Show as table").click()
    rows = frame.get_by_role("region", name="Norms as a table").get_by_role("row")
    expect(rows.nth(1)).to_have_text("02.000")
    expect(rows.nth(2)).to_have_text("1None")


def test_when_it_stopped_being_finite(page: Page, server: Server) -> None:
    frame = open_tab(page, server, run="train")
    cell(frame, "recon", "dec/kernel").hover()
    tip = frame.get_by_role("tooltip")
    expect(tip).to_contain_text("first NaN seen at step 20")
    expect(tip).to_contain_text("first Inf seen at step 40")
    frame.get_by_role("tab", name="Not finite 2").click()
    expect(frame.get_by_text("2 gradients not finite")).to_be_visible()
    row = frame.get_by_role("row").filter(has_text="NaN")
    expect(row).to_contain_text("once, at step 20")
    expect(row).to_contain_text("1 of 5")
    expect(row).to_contain_text("train.py:36 in step")
    row.get_by_role("button", name="step 20").click()
    expect(frame.get_by_role("tab", name="Matrix")).to_have_attribute("aria-selected", "true")
    expect(step_of(frame)).to_have_text("20")
    expect(cell(frame, "recon", "dec/kernel")).to_have_class(re.compile("chosen"))
    # The detail leads there too, and so do the marks below its chart.
    detail = frame.get_by_role("complementary", name="Detail")
    firsts = detail.get_by_role("list", name="Not finite")
    expect(firsts).to_contain_text("first NaN seen at step 20")
    firsts.get_by_role("button", name="step 40").click()
    expect(step_of(frame)).to_have_text("40")
    mark = detail.get_by_role("button", name="recon: NaN at step 20 (1 record), go to step 20")
    mark.click()
    expect(step_of(frame)).to_have_text("20")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(step_of(frame)).to_have_text("40")


def test_clipping(page: Page, server: Server) -> None:
    frame = open_tab(page, server, run="train", step=20, tab="clipping")
    site = frame.get_by_role("region", name="Clip site all")
    expect(site).to_contain_text("clipped in 3 of 5 calls (60 %)")
    expect(site).to_contain_text("too early to say")
    expect(site).to_contain_text("train.py:7")
    expect(site.locator(".chart canvas")).to_have_count(2)
    expect(site).to_contain_text("scaled to 20 % of its length")
    shares = site.get_by_role("list", name=re.compile("Shares")).get_by_role("listitem")
    expect(shares).to_have_text(["dec/kernel64 %", "enc/kernel36 %", "enc/bias0 %", "codebookNone"])
    frame.get_by_role("button", name="Next recorded step").click()
    expect(site).to_contain_text("Not clipped: the norm was 0.50")
    site.get_by_role("button", name="Show as table").click()
    expect(site.get_by_role("row", name=re.compile("^40 "))).to_contain_text("3 of 5")
    other = frame.get_by_role("region", name="Clip site each")
    other.scroll_into_view_if_needed()
    expect(other).to_contain_text("Each element is cut on its own")
    expect(other).to_contain_text("too early to say")
    expect(other.get_by_text("threshold", exact=True)).to_have_count(0)


def test_missing_gradients(page: Page, server: Server) -> None:
    frame = open_tab(page, server, run="train")
    frame.get_by_role("tab", name="Missing 3").click()
    expect(frame.get_by_text("3 gradients missing")).to_be_visible()
    rows = frame.get_by_role("row")
    expect(rows.filter(has_text="recon")).to_contain_text("since step 20")
    expect(rows.filter(has_text="recon")).to_contain_text("3 of 5")
    expect(rows.filter(has_text="recon")).to_contain_text("train.py:36 in step")
    expect(rows.filter(has_text="kl")).to_contain_text("always")
    rows.filter(has_text="kl").get_by_role("button", name="dec/bias").click()
    expect(frame.get_by_role("tab", name="Matrix")).to_have_attribute("aria-selected", "true")
    expect(frame.get_by_role("heading", name="dec/bias")).to_be_visible()
    expect(cell(frame, "kl", "dec/bias")).to_have_class(re.compile("chosen"))


def test_a_program_that_crashed_while_tracing(page: Page, server: Server) -> None:
    frame = open_tab(page, server, run="crashed")
    expect(frame.get_by_text("Only tracing was seen")).to_be_visible()
    expect(cell(frame, "loss1", "w2")).to_have_text("None")
    expect(cell(frame, "loss1", "w1")).to_have_text("·")


def test_dark_mode_follows_tensorboard(page: Page, server: Server) -> None:
    frame = open_tab(page, server, run="train")
    ok = cell(frame, "recon", "enc/kernel")
    expect(ok).to_be_visible()
    body = frame.locator("body")
    expect(body).to_have_css("background-color", "rgb(255, 255, 255)")
    light = ok.evaluate("cell => getComputedStyle(cell).backgroundColor")
    page.get_by_role("button", name=re.compile("dark theme", re.I)).click()
    page.get_by_role("menuitemradio", name="Dark").or_(
        page.get_by_role("menuitem", name="Dark")
    ).first.click()
    expect(body).to_have_css("background-color", "rgb(38, 40, 43)")
    expect(ok).not_to_have_css("background-color", light)


def test_from_the_loss_to_what_reached_the_optimizer(page: Page, server: Server) -> None:
    frame = open_tab(page, server, run="multi", step=60)
    heads = frame.get_by_role("columnheader")
    expect(heads).to_have_count(6)
    labels = [head.get_attribute("aria-label") for head in heads.all()]
    assert labels == [
        None,
        "total (unscaled)",
        "recon (part of total, unscaled)",
        "kl (part of total, unscaled)",
        "adversarial",
        "reached adam (Adam)",
    ]
    expect(heads.nth(2)).to_contain_text("=")
    expect(heads.nth(3)).to_contain_text("+")
    reached = cell(frame, "reached adam (Adam)", "codebook/kernel")
    expect(reached).to_have_text(re.compile(r"^[\d.]+$"))
    reached.click()
    detail = frame.get_by_role("complementary", name="Detail")
    expect(detail.get_by_role("heading", name="codebook/kernel")).to_be_visible()
    expect(detail.get_by_role("table")).to_contain_text("loss scale, divided out")
    expect(detail.get_by_role("table")).to_contain_text("16,384")
    # An optimizer's column sorts like any other, and is in the link.
    heads.nth(5).click()
    expect(heads.nth(5)).to_have_attribute("aria-sort", "descending")
    page.wait_for_url(re.compile(r"p\.gradscope\.by=%E2%86%92adam"))


def test_an_overflowed_loss_scale_is_no_explosion(page: Page, server: Server) -> None:
    frame = open_tab(page, server, run="multi", step=100)
    skipped = cell(frame, "total (unscaled)", "codebook/kernel")
    expect(skipped).to_have_text("skip")
    expect(cell(frame, "reached adam (Adam)", "whole gradient")).to_have_text("skip")
    skipped.hover()
    tip = frame.get_by_role("tooltip")
    expect(tip).to_contain_text("skipped step: the loss scale had overflowed")
    frame.get_by_role("tab", name="Not finite 2").click()
    expect(frame.get_by_text("2 gradients not finite")).to_be_visible()
    expect(frame.get_by_text("First steps are exact")).to_be_visible()
    apart = frame.get_by_role("region", name="Skipped steps")
    expect(apart).to_contain_text("8 gradients not finite, in 3 skipped steps: 0, 5, 100")
    apart.get_by_role("button", name="5", exact=True).first.click()
    expect(step_of(frame)).to_have_text("5")


def test_what_the_sentinel_saw_is_marked_on_the_slider(page: Page, server: Server) -> None:
    frame = open_tab(page, server, run="multi")
    marks = frame.get_by_role("group", name="What the sentinel saw").get_by_role("button")
    expect(marks).to_have_count(3)
    labels = [mark.get_attribute("aria-label") or "" for mark in marks.all()]
    assert [label.split(", ")[0] for label in labels] == [
        "step 60: the norm rose out of its recent range in encoder/dense_1/kernel",
        "step 100: skipped step",
        "step 150: NaN or infinity began in codebook/bias",
    ]
    assert (
        "encoder/dense_1/kernel, encoder/dense_1/bias, encoder/dense_2/kernel and 1 more"
        in (labels[0])
    )
    # One stop of the Tab key behind the slider; arrows go on from there.
    frame.get_by_role("slider", name="Step").focus()
    page.keyboard.press("Tab")
    expect(marks.nth(0)).to_be_focused()
    page.keyboard.press("End")
    expect(marks.nth(2)).to_be_focused()
    page.keyboard.press("Enter")
    expect(step_of(frame)).to_have_text("150")
    expect(cell(frame, "total (unscaled)", "codebook/bias")).to_have_text("NaN")
    marks.nth(0).click()
    expect(step_of(frame)).to_have_text("60")


def test_updates(page: Page, server: Server) -> None:
    frame = open_tab(page, server, run="multi", step=100)
    frame.get_by_role("tab", name="Updates 1").click()
    card = frame.get_by_role("region", name="Optimizer adam")
    counted = "Up to step 195: 37 updates applied, 3 skipped because the loss scale had"
    expect(card).to_contain_text(counted)
    ratios = card.get_by_role("region", name="Updates by variable")
    # Step 100 was skipped: the update before it is shown, and says so.
    expect(ratios.get_by_role("heading")).to_have_text("At step 95, farthest from 1e-3 first")
    rows = ratios.get_by_role("row")
    expect(rows.nth(1)).to_contain_text("decoder/dense_1/bias1.0e-5")
    expect(rows.nth(2)).to_contain_text("encoder/dense_1/kernel0.032")
    expect(rows.nth(8)).to_contain_text("encoder/dense_2/bias1.0e-3")
    expect(card.get_by_role("region", name="Update to variable")).to_contain_text("1e-3")
    skipped = card.get_by_role("region", name="Loss scale").get_by_role("group")
    expect(skipped.get_by_role("button")).to_have_count(3)
    expect(card.get_by_role("region", name="Learning rate")).to_be_visible()
    ratios.get_by_role("button", name="codebook/bias").click()
    chart = card.get_by_role("img", name=re.compile("^Update to variable by step of codebook.bias"))
    expect(chart.locator("canvas")).to_be_visible()
    frame.get_by_role("searchbox").fill("codebook")
    expect(rows).to_have_count(3)
    page.wait_for_url(re.compile(r"p\.gradscope\.variable=codebook%2Fbias"))
    page.reload()
    expect(frame.get_by_role("tab", name="Updates")).to_have_attribute("aria-selected", "true")
    expect(chart.locator("canvas")).to_be_visible()


def test_conflicts(page: Page, server: Server) -> None:
    frame = open_tab(page, server, run="multi", step=60, tab="conflicts")
    pairs = frame.get_by_role("region", name="Pairs of losses").get_by_role("row")
    expect(pairs).to_have_count(2)
    # Seven of eight variables oppose; the one that does not has the smallest norm.
    expect(pairs.nth(1)).to_contain_text("recon unscaled · kl unscaled")
    expect(pairs.nth(1)).to_contain_text(re.compile("−0.4[0-9]"))
    chart = frame.get_by_role("img", name=re.compile("^Cosine by step of recon"))
    expect(chart.locator("canvas")).to_be_visible()
    table = frame.get_by_role("region", name="Cosines by variable")
    rows = table.get_by_role("row")
    expect(rows).to_have_count(9)
    expect(rows.nth(8)).to_have_text("decoder/dense_1/bias+1.00aligned")
    expect(rows.nth(1)).to_contain_text(re.compile(r"−0\.\d\d(somewhat )?opposed"))
    pairs.nth(1).get_by_role("button").click()
    page.wait_for_url(re.compile(r"p\.gradscope\.with=kl%40unscaled"))
    table.get_by_role("button", name="decoder/dense_1/bias").click()
    expect(frame.get_by_role("tab", name="Matrix")).to_have_attribute("aria-selected", "true")
    expect(cell(frame, "recon (part of total, unscaled)", "decoder/dense_1/bias")).to_have_class(
        re.compile("chosen")
    )


def test_findings_lead_to_the_cell(page: Page, server: Server) -> None:
    frame = open_tab(page, server, run="multi")
    frame.get_by_role("tab", name="Findings 2").click()
    expect(frame.get_by_role("heading", name="2 faults found")).to_be_visible()
    finding = frame.get_by_role("article", name=re.compile("^error: The gradient of total is not"))
    expect(finding).to_contain_text("train.py:7")
    finding.get_by_role("button", name="codebook/bias").click()
    expect(step_of(frame)).to_have_text("150")
    chosen = cell(frame, "total (unscaled)", "codebook/bias")
    expect(chosen).to_have_class(re.compile("chosen"))
    expect(chosen).to_have_text("NaN")


def test_a_changed_threshold_is_judged_by_at_once_and_kept_in_the_link(
    page: Page, server: Server
) -> None:
    frame = open_tab(page, server, run="multi", tab="findings")
    findings = frame.get_by_role("article")
    expect(findings).to_have_count(3)
    clipped = findings.filter(has_text="compared with the threshold clip_saturated (0.5)")
    clipped.get_by_role("button", name="clip_saturated").click()
    box = frame.get_by_role("textbox", name="clip_saturated")
    expect(box).to_be_focused()
    box.fill("2")
    page.keyboard.press("Enter")
    expect(frame.get_by_text("Expected a number from 0 to 1.")).to_be_visible()
    expect(findings).to_have_count(3)
    box.fill("0.6")
    page.keyboard.press("Enter")
    expect(findings).to_have_count(2)
    expect(box).to_be_focused()
    expect(frame.get_by_text("Expected a number")).to_have_count(0)
    page.wait_for_url(re.compile(r"p\.gradscope\.thresholds=clip_saturated%3A0\.6"))
    page.reload()
    expect(findings).to_have_count(2)
    frame.get_by_text("1 changed: clip_saturated 0.6").click()
    frame.get_by_role("button", name="clip_saturated back to its default, 0.5").click()
    expect(findings).to_have_count(3)
    clipped.get_by_role("button", name="see Clipping").click()
    expect(frame.get_by_role("tab", name="Clipping")).to_have_attribute("aria-selected", "true")


def test_replicas_and_their_reduction_stand_apart(page: Page, server: Server) -> None:
    frame = open_tab(page, server, run="replicas")
    shown = {"replica 0 of 2": "1.0", "replica 1 of 2": "2.0", "mean of 2 replicas": "3.0"}
    for which, norm in shown.items():
        expect(cell(frame, f"loss ({which})", "dense/kernel")).to_have_text(norm)
    cell(frame, "loss (mean of 2 replicas)", "dense/kernel").click()
    expect(cell(frame, "loss (replica 0 of 2)", "dense/kernel")).not_to_have_class(
        re.compile("chosen")
    )
    page.wait_for_url(re.compile(r"p\.gradscope\.loss=loss%40mean%2F2"))
    frame.get_by_role("tab", name="Clipping 2").click()
    expect(frame.get_by_text("Clipped before the all-reduce, on replica 0 of 2.")).to_be_visible()
    expect(frame.get_by_text("Clipped after the all-reduce over 2 replicas.")).to_be_visible()


def test_many_columns_exist_only_where_one_looks(page: Page, server: Server) -> None:
    frame = open_tab(page, server, run="columns")
    expect(frame.get_by_role("grid")).to_have_attribute("aria-colcount", "61")
    expect(cell(frame, "task_00", "w")).to_have_text("1.0")
    assert frame.get_by_role("columnheader").count() < 40
    frame.get_by_role("rowheader", name="w", exact=True).focus()
    page.keyboard.press("End")
    last = cell(frame, "task_59", "w")
    expect(last).to_be_focused()
    expect(last).to_have_text("60")
    expect(last).to_have_attribute("aria-colindex", "61")
    expect(cell(frame, "task_00", "w")).to_have_count(0)
    # The head stands above its cells, wherever one has scrolled to.
    head, body = (
        frame.get_by_role("columnheader", name="task_59").bounding_box(),
        last.bounding_box(),
    )
    assert head
    assert body
    assert head["x"] == pytest.approx(body["x"], abs=1)
    page.keyboard.press("Home")
    expect(frame.get_by_role("rowheader", name="w", exact=True)).to_be_focused()
    expect(cell(frame, "task_00", "w")).to_have_count(1)


def test_tabs_without_data_teach(page: Page, server: Server) -> None:
    frame = open_tab(page, server, run="train")
    frame.get_by_role("tab", name="Updates").click()
    expect(frame.get_by_role("heading", name="No updates recorded")).to_be_visible()
    expect(frame.locator("code")).to_contain_text("optimizer = gs.watch_optimizer(optimizer)")
    page.keyboard.press("ArrowRight")
    expect(frame.get_by_role("heading", name="No two losses compared")).to_be_visible()
    expect(frame.locator("code")).to_contain_text("tape.losses(recon=recon, kl=kl)")


def test_hostile_names_are_text(page: Page, server: Server) -> None:
    frame = open_tab(page, server, run=HOSTILE_RUN)
    expect(frame.get_by_label("Run")).to_have_value(HOSTILE_RUN)
    expect(frame.get_by_role("rowheader", name=HOSTILE[0], exact=True)).to_be_visible()
    expect(frame.get_by_role("rowheader", name="🦊/\\u202egnp.exe")).to_be_visible()
    expect(frame.get_by_role("columnheader", name=HOSTILE_LOSS)).to_be_visible()
    expect(cell(frame, "__proto__", "__proto__")).to_have_text("1.0")
    for name in HOSTILE:
        frame.locator("tbody th[data-at]").nth(HOSTILE.index(name)).click()
        expect(frame.get_by_role("complementary").locator(".chart canvas")).to_be_visible()
    frame.get_by_role("tab", name="Clipping").click()
    site = frame.get_by_role("region", name=f"Clip site {HOSTILE_SITE}")
    expect(site.locator(".chart canvas")).to_have_count(2)
    frame.get_by_role("tab", name="Missing").click()
    expect(frame.get_by_role("button", name=HOSTILE[0]).first).to_be_visible()
    expect(frame.locator("img, script[src], i, b")).to_have_count(0)


def test_link_keeps_the_state(page: Page, server: Server) -> None:
    frame = open_tab(page, server, run="train")
    cell(frame, "kl", "enc/bias").click()
    frame.get_by_role("button", name="Previous recorded step").click()
    frame.get_by_role("searchbox").fill("enc")
    page.wait_for_url(re.compile(r"p\.gradscope\.filter=enc"))
    page.reload()
    expect(step_of(frame)).to_have_text("30")
    expect(frame.get_by_role("searchbox")).to_have_value("enc")
    expect(frame.get_by_role("heading", name="enc/bias")).to_be_visible()
    # A link pasted over it, as the browser's own history would bring it back.
    page.evaluate("location.hash = '#gradscope&p.gradscope.run=train&p.gradscope.tab=missing'")
    expect(frame.get_by_text("3 gradients missing")).to_be_visible()


def test_failures_are_said_and_can_be_retried(page: Page, server: Server, wrong: list[str]) -> None:
    answer = "**/gradscope/run?*"
    refusal = {"status": 404, "body": "No such run.", "content_type": "text/plain"}
    page.route(answer, lambda route: route.fulfill(**refusal))
    frame = open_tab(page, server, run="train")
    alert = frame.get_by_role("alert")
    expect(alert).to_contain_text("No such run.")
    page.unroute(answer)
    alert.get_by_role("button", name="Try again").click()
    expect(cell(frame, "recon", "enc/bias")).to_be_visible()
    expect(alert).to_have_count(0)
    assert all("404" in line for line in wrong)
    wrong.clear()


def test_works_outside_of_tensorboards_frame(page: Page, server: Server, wrong: list[str]) -> None:
    page.goto(f"{server.url}data/plugin_entry.html?name=gradscope#p.gradscope.run=train")
    expect(page).to_have_title("GradScope for TensorBoard")
    expect(page.locator("html")).to_have_attribute("lang", "en")
    page.get_by_role("button", name="Previous recorded step").click()
    expect(page).to_have_url(re.compile(r"p\.gradscope\.step=30"))
    assert all("favicon" in line for line in wrong)
    wrong.clear()


def test_empty_log_directory_teaches_then_follows_a_training(
    page: Page, tmp_path: pathlib.Path
) -> None:
    server = Server("--logdir", tmp_path).wait([])
    try:
        frame = open_tab(page, server)
        expect(frame.get_by_role("heading", name="No gradients recorded here yet")).to_be_visible()
        expect(frame.locator("code").first).to_contain_text("import tb_gradscope as gs")
        loss = Loss("loss", ["w"])
        with Log(tmp_path / "run") as log:
            loss.open(log, 0)
            for step, norm in enumerate([1.0, 2.0]):
                loss.record(log, step, norm)
            log.flush()
            expect(cell(frame, "loss", "w")).to_have_text("2.0")
            loss.record(log, 2, 3.0)
            log.flush()
            expect(cell(frame, "loss", "w")).to_have_text("3.0")
            expect(step_of(frame)).to_have_text("2")
            # Who looks at one step is left in peace, until told to follow again.
            frame.get_by_role("button", name="Previous recorded step").click()
            expect(cell(frame, "loss", "w")).to_have_text("2.0")
            loss.record(log, 3, 4.0)
            log.flush()
            reload_until(page, frame.get_by_text("2 of 4 recorded"))
            expect(cell(frame, "loss", "w")).to_have_text("2.0")
            frame.get_by_role("button", name="Live").click()
            expect(cell(frame, "loss", "w")).to_have_text("4.0")
    finally:
        page.goto("about:blank")  # a page that follows would ask the stopped server
        server.stop()


def reload_until(page: Page, shown: Locator) -> None:
    """Presses TensorBoard's reload button until its data have come."""
    button = page.get_by_role("button", name="Reload data").or_(page.locator(".reload-button"))
    for _ in range(40):
        button.first.click()
        try:
            shown.wait_for(timeout=500)
        except PlaywrightTimeout:
            continue
        return
    expect(shown).to_be_visible()
