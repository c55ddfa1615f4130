"""The page and the live view in headless Chromium: they open, draw, turn, and hide layers, without an error in the console."""

from __future__ import annotations

import io
import shutil
import socket
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image
from viewer_scenes import street

from geo3d.viz import Scene, SceneSequence

OPTIONS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
SIZE = (800, 480)
MIDDLE = np.s_[140:400, 250:620]  # of a screenshot: no panel, no legend
WAIT = 30_000  # milliseconds
# What a page may write to the console: viser's bundled three.js tells that one of its modules is old.
HARMLESS = ("THREE.Clock",)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser: pip install playwright")
    with sync_api.sync_playwright() as playwright:
        path = next(
            (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
        )
        try:
            started = playwright.chromium.launch(executable_path=path, args=OPTIONS)
        except sync_api.Error as error:
            pytest.skip(f"no Chromium here (apt-get install chromium, or playwright install chromium): {error.message[:80]}")
        yield started
        started.close()


@pytest.fixture
def page(browser) -> Iterator[Any]:
    """A page whose errors and warnings fail the test at its end."""
    page = browser.new_page(viewport={"width": SIZE[0], "height": SIZE[1]})
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: problems.append(request.url) if foreign(request.url) else None)
    yield page
    page.close()
    assert [text for text in problems if not any(known in text for known in HARMLESS)] == []


def foreign(url: str) -> bool:
    return not url.startswith(("file:", "data:", "blob:", "http://127.0.0.1", "ws://127.0.0.1"))


def seen(page) -> np.ndarray:
    """[H, W, 3] what the page shows."""
    return np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB")).astype(int)


def changed(first: np.ndarray, second: np.ndarray) -> float:
    """Share of the middle's pixels that differ."""
    return float((np.abs(first - second)[MIDDLE].max(axis=-1) > 30).mean())


def drawings(page) -> int:
    return int(page.evaluate("document.body.dataset.drawn || 0"))


def after(page, action) -> np.ndarray:
    """What the page shows once it has drawn again after an action."""
    before = drawings(page)
    action()
    page.wait_for_function(f"Number(document.body.dataset.drawn) > {before}", timeout=WAIT)
    page.wait_for_timeout(400)  # a thinner cloud is followed by the whole one
    return seen(page)


def drag(page, dx: int, dy: int, button: str = "left") -> None:
    page.mouse.move(400, 300)
    page.mouse.down(button=button)
    page.mouse.move(400 + dx, 300 + dy, steps=3)
    page.mouse.up(button=button)


def opened(page, path) -> np.ndarray:
    page.goto(path.as_uri())
    page.wait_for_function("document.body.dataset.drawn", timeout=WAIT)
    page.wait_for_timeout(300)
    return seen(page)


def test_page_draws_turns_moves_zooms_and_resets(page, tmp_path):
    first = opened(page, street().save(tmp_path / "street.html"))
    assert (np.abs(first - (250, 250, 252)).max(axis=-1) > 30)[MIDDLE].mean() > 0.1
    for color in ((40, 90, 200), (230, 130, 20)):  # points and lines as they are
        assert (np.abs(first - color).max(axis=-1) < 30).sum() > 100
    turned = after(page, lambda: drag(page, 120, 30))
    assert changed(first, turned) > 0.05
    moved = after(page, lambda: drag(page, 60, 0, "right"))
    assert changed(turned, moved) > 0.05
    zoomed = after(page, lambda: page.mouse.wheel(0, 400))
    assert changed(moved, zoomed) > 0.05
    assert changed(first, after(page, lambda: page.click("#reset"))) < 0.002


def test_page_hides_layers_and_texts(page, tmp_path):
    last = opened(page, street().save(tmp_path / "street.html"))
    colors = {"ground": (40, 90, 200), "boxes": (230, 130, 20)}
    for name, color in colors.items():
        page.evaluate("document.activeElement.blur()")
        now = after(page, lambda name=name: page.click(f"[data-layer={name}]"))
        before, left = ((np.abs(picture[MIDDLE] - color).max(axis=-1) < 40).sum() for picture in (last, now))
        assert left < 0.3 * before
        last = now
    assert page.locator("#labels span:visible").count() == 0
    after(page, lambda: page.click("[data-layer=boxes]"))
    assert set(page.locator("#labels span:visible").all_inner_texts()) <= {"car 0.90", "</script>"}
    assert page.locator("#labels span:visible").count() >= 1
    after(page, lambda: page.click("#texts"))
    assert page.locator("#labels span:visible").count() == 0


def test_page_switches_images(page, tmp_path):
    scenes = [street(), street(3.0)]
    for scene in scenes:
        scene.add_image(np.full((30, 40, 3), 200, np.uint8), name="second").visible = False
    opened(page, SceneSequence(scenes).save(tmp_path / "street.html"))
    names = page.locator("[data-layer]").evaluate_all("boxes => boxes.map((box) => box.dataset.layer)")
    assert names == list(scenes[0].layers)  # every layer has a switch
    first, second = page.locator("figure[data-of=image_1]"), page.locator("figure[data-of=second]")
    assert first.is_visible() and not second.is_visible()
    page.click("[data-layer=image_1]")
    page.click("[data-layer=second]")
    assert not first.is_visible() and second.is_visible()
    second.click()
    page.keyboard.press("ArrowRight")
    assert not first.is_visible() and second.is_visible()  # so in the other scenes
    assert second.bounding_box()["width"] > 0.8 * SIZE[0]  # and as large as before


def test_page_shows_title_legend_scale_and_image_as_text(page, tmp_path):
    opened(page, street().save(tmp_path / "street.html"))
    assert page.inner_text("#title") == "street <b> & co" and page.title() == "street <b> & co"
    assert page.inner_text("#legend").strip() == "car"
    assert page.inner_text("#scale").split()[0] == "metres"
    assert page.locator("#images img").evaluate("image => [image.naturalWidth, image.naturalHeight]") == [40, 30]
    assert not page.locator("#time").is_visible()


def test_a_narrow_page_keeps_the_middle_free(page, tmp_path):
    page.set_viewport_size({"width": 390, "height": 780})
    scene = street()
    scene.add_image(np.full((100, 600, 3), 90, np.uint8))
    opened(page, scene.save(tmp_path / "street.html"))
    boxes = {name: page.locator(f"#{name}").bounding_box() for name in ("panel", "margin", "images", "title")}
    assert boxes["panel"]["height"] < 60  # closed at first
    assert boxes["margin"]["y"] + boxes["margin"]["height"] < 0.4 * 780 and boxes["images"]["y"] > 0.6 * 780
    assert boxes["title"]["x"] >= boxes["panel"]["x"] + boxes["panel"]["width"]
    assert page.locator("#images").evaluate("images => images.scrollWidth <= images.clientWidth")  # no image is cut off
    page.click("summary")
    page.click("[data-layer=ground]")
    assert not page.is_checked("[data-layer=ground]")


def test_point_size_changes_points(page, tmp_path):
    opened(page, street().save(tmp_path / "street.html"))
    blue = []
    for size in (0.3, 2):
        picture = after(page, lambda size=size: page.evaluate(f"size.value = {size}; size.dispatchEvent(new Event('input'))"))
        blue.append((np.abs(picture[MIDDLE] - (40, 90, 200)).max(axis=-1) < 40).sum())
    assert blue[1] > 2 * blue[0] > 0


def test_page_of_a_sequence_steps_and_plays(page, tmp_path):
    sequence = SceneSequence((street(shift) for shift in np.linspace(0, 4, 5)), fps=20)
    first = opened(page, sequence.save(tmp_path / "drive.html"))
    assert page.inner_text("#number") == "1 / 5"
    second = after(page, lambda: page.keyboard.press("ArrowRight"))
    assert page.inner_text("#number") == "2 / 5" and changed(first, second) > 0.002
    page.click("[data-layer=ground]")
    after(page, lambda: page.keyboard.press("ArrowLeft"))
    assert not page.is_checked("[data-layer=ground]")  # stays off in the other scenes
    after(page, lambda: page.evaluate("frame.value = 2; frame.dispatchEvent(new Event('input'))"))
    assert page.inner_text("#number") == "3 / 5"
    page.click("#play")
    page.wait_for_function("document.getElementById('number').textContent === '4 / 5'", timeout=WAIT)


def test_a_hidden_layer_is_off_at_first(page, tmp_path):
    scene = street()
    scene.layers["ground"] = scene.layers["ground"].shown(False)
    first = opened(page, scene.save(tmp_path / "street.html"))
    assert not page.is_checked("[data-layer=ground]")
    assert changed(first, after(page, lambda: page.click("[data-layer=ground]"))) > 0.005


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def settled(page) -> np.ndarray:
    """What the live view shows once it no longer changes."""
    last = seen(page)
    for _ in range(40):
        page.wait_for_timeout(400)
        now = seen(page)
        if (np.abs(now - (250, 250, 252)).max(axis=-1) > 30)[MIDDLE].mean() > 0.02 and changed(last, now) < 0.001:
            return now
        last = now
    raise AssertionError("the live view did not come to rest")


def test_live_view_draws_turns_and_hides_layers(page):
    pytest.importorskip("viser", reason="the live view needs viser: pip install viser")
    page.set_viewport_size({"width": 1000, "height": 480})
    scene = street()
    with scene.serve(port=free_port()) as live:
        assert live.url.startswith("http://127.0.0.1:")
        page.goto(live.url)
        first = settled(page)
        assert (np.abs(first - (230, 130, 20)).max(axis=-1) < 30).sum() > 100  # lines in their colour
        drag(page, 120, 30)
        turned = settled(page)
        assert changed(first, turned) > 0.05
        page.locator("input[type=checkbox]:visible").first.click()
        bare = settled(page)
        assert changed(turned, bare) > 0.02
        scene.layers.pop("boxes")
        live.update()
        orange = [(np.abs(picture - (230, 130, 20)).max(axis=-1) < 30)[MIDDLE].sum() for picture in (bare, settled(page))]
        assert orange[1] < 0.3 * orange[0]


def test_live_view_of_a_sequence_goes_to_a_scene():
    pytest.importorskip("viser", reason="the live view needs viser: pip install viser")
    scenes = [street(0.0), street(3.0)]
    with SceneSequence(scenes).serve(port=free_port()) as live:
        live.show(1)
        with pytest.raises(IndexError, match="index must be in 0..1, got 2"):
            live.show(2)


def test_live_view_says_what_is_missing(monkeypatch):
    with pytest.raises(ValueError, match="the scene is empty"):
        Scene().serve()
    monkeypatch.setitem(sys.modules, "viser", None)
    with pytest.raises(RuntimeError, match=r"the live view needs viser: pip install 'geo3d\[viewer\]'"):
        street().serve()
