"""Serves the whole page and drives it in a browser."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.browser import PHONE, REQUIRED, sync_api


if REQUIRED:
    import gradio
else:
    gradio = pytest.importorskip("gradio", reason="the page needs gradio: pip install -e '.[app]'")

import app  # noqa: E402  # it imports gradio


WAIT_MS = 60_000
# The message of each part of the page, and the place for files that it stands below.
MESSAGES = {
    "one": ("#trouble", "#upload"),
    "two": ("#trouble-of-two", "#new"),
    "many": ("#trouble-of-many", "#many-folder"),
}
# Of what a file may not state.
FIELDS = ("rate", "unit", "leads", "exam", "repair", "missing")
LIES_IN_WINDOW = """one => {
    const { top, bottom, left, right, width } = one.getBoundingClientRect();
    return width > 0 && top >= 0 && bottom <= innerHeight + 0.5 && left >= 0 && right <= innerWidth + 0.5;
}"""


@contextmanager
def served(analyser, folder, **settings) -> Iterator[str]:
    """Gives the address of the running page, whose files lie in a folder; `settings` are those of `app.launch`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(folder))
        patch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
        running, url, _ = app.launch(analyser, "127.0.0.1", **settings)
        try:
            yield url
        finally:
            running.get_blocks().close(verbose=False)


@contextmanager
def opened(context, url):
    """Gives the page; in the end no request may have left this machine and no script have failed."""
    outside, failures = [], []
    page = context.new_page()
    page.set_default_timeout(WAIT_MS)
    page.on(
        "request",
        lambda sent: None if sent.url.startswith((url, "data:", "blob:")) else outside.append(sent.url),
    )
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.goto(url)
    page.locator("#analyse").wait_for()
    yield page
    page.close()
    assert outside == []
    assert failures == []


def press(locator):
    """A finger on a phone, or else a mouse; fails where something else lies there."""
    if locator.page.viewport_size == PHONE["viewport"]:
        locator.tap()
    else:
        locator.click()


def upload(page, paths):
    """Chooses files, waits until they are on the server, and presses the button."""
    page.locator("#upload input[type=file]").set_input_files([str(path) for path in paths])
    for path in paths:
        page.locator("#upload").get_by_text(Path(path).stem).first.wait_for()
    press(page.locator("#analyse"))


def part_of(page, title):
    """Opens a part of the page."""
    press(page.get_by_role("tab", name=title))


def choose(page, box, paths):
    """Chooses files, or a folder, and waits until they are on the server."""
    page.locator(f"#{box} input[type=file]").set_input_files(paths)
    page.locator(f"#{box}").get_by_role("button", name="Clear").first.wait_for()


def shown_scores(page):
    """Probability of each label."""
    page.locator("#findings tr[data-label]").first.wait_for()
    rows = page.locator("#findings tr[data-label]").all()
    return {row.get_attribute("data-label"): float(row.get_attribute("data-score")) for row in rows}


def in_sight(locator):
    """Waits until an element lies whole in the window."""
    locator.page.wait_for_function(LIES_IN_WINDOW, arg=locator.element_handle())


def trouble_of(page, part="one"):
    """The message of a part of the page, whole in the window and right below the files; there is none elsewhere."""
    message, box = MESSAGES[part]
    trouble = page.locator(f"{message} .ec-trouble")
    trouble.wait_for()
    in_sight(trouble)
    upper = page.locator(box).bounding_box()
    assert 0 <= trouble.bounding_box()["y"] - (upper["y"] + upper["height"]) < 40
    assert page.locator(".toast-body, [data-testid=toast-body]").count() == 0
    assert part != "one" or not page.locator("#result").is_visible()
    return trouble.inner_text()


def shown_fields(page):
    """The fields that are asked for."""
    return [name for name in FIELDS if page.locator(f"#{name}").is_visible()]


def no_field_is_shown(page):
    """Waits until no field is asked for: their own update may come after the result."""
    for name in FIELDS:
        sync_api.expect(page.locator(f"#{name}")).to_be_hidden()


def choose_unit(page, unit):
    """Chooses from the list of units that the page has asked with."""
    press(page.locator("#unit input"))
    press(page.get_by_role("option", name=unit, exact=True))
