"""Check reports where people read them: light, dark and narrow, on a page of their own and in an exported notebook."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import torch
from conftest import watched

from interpwidgets.course.check import judge
from interpwidgets.course.registry import exercise

pytestmark = pytest.mark.browser

INK = {"light": "rgb(26, 29, 33)", "dark": "rgb(231, 233, 236)"}  # the look's ink1


def wrong(pattern: Any, period: int) -> Any:
    return exercise("05.5").reference(pattern, period) + 0.25


@pytest.fixture
def report(browser: Any) -> Iterator[Callable[..., Any]]:
    """``report(attribute, width, scheme)``: a page whose body carries this attribute of a host, with one report."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    html = judge(exercise("05.5"), wrong)._repr_mimebundle_()["text/html"]
    torch.set_num_threads(threads)
    with ExitStack() as pages:

        def show(attribute: str = "", width: int = 900, scheme: Any = "light") -> Any:
            options = {"viewport": {"width": width, "height": 900}, "color_scheme": scheme}
            page, _ = pages.enter_context(watched(browser, **options))
            page.set_content(f"<!doctype html><body {attribute}>{html}</body>")
            return page

        yield show


def ink(page: Any) -> str:
    return str(page.locator(".iwr").first.evaluate("el => getComputedStyle(el).color"))


@pytest.mark.parametrize(
    ("attribute", "scheme", "theme"),
    [
        ("", "light", "light"),
        ("", "dark", "dark"),
        ('data-jp-theme-light="false"', "light", "dark"),
        ('data-jp-theme-light="true"', "dark", "light"),
        ('class="vscode-dark"', "light", "dark"),
        ('class="vscode-light"', "dark", "light"),
        ('class="dark"', "light", "dark"),
    ],
)
def test_the_host_decides_about_light_and_dark(report: Any, attribute: str, scheme: str, theme: str, shot: Any) -> None:
    page = report(attribute, scheme=scheme)
    assert ink(page) == INK[theme]
    cell = page.locator(".iwr-grid > .iwr-c").first.evaluate("el => getComputedStyle(el).backgroundColor")
    luminance = sum(int(part) for part in cell.removeprefix("rgb(").rstrip(")").split(","))
    assert (luminance > 380) == (theme == "light")  # a small value is close to the paper
    shot(page, f"report_{theme}")


@pytest.mark.parametrize("width", [320, 420, 700, 1100])
def test_no_width_scrolls_sideways(report: Any, width: int, shot: Any) -> None:
    page = report(width=width)
    page.locator("summary").evaluate_all("all => all.forEach(one => (one.parentElement.open = true))")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    columns = len(
        {round(panel["x"]) for panel in map(lambda p: p.bounding_box(), page.locator(".iwr-panel").all()[:4])}
    )
    assert columns == (1 if width < 640 else 4)
    shot(page, f"report_{width}")


def test_numbers_and_case_open_by_keyboard(report: Any) -> None:
    page = report()
    numbers = page.locator("details").first
    assert not page.locator(".iwr-numbers").is_visible()
    numbers.locator("summary").focus()
    page.keyboard.press("Enter")
    assert page.locator(".iwr-numbers").is_visible()
    assert page.locator(".iwr-numbers tr.iwr-on").count() == 1


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_an_exported_notebook_shows_reports_as_its_reader_chooses(exported: Any, scheme: str, shot: Any) -> None:
    page = exported(
        "from interpwidgets import check, hint, ask",
        "check('05.5', lambda pattern, period: pattern.mean((1, -1, -2)))",
        "hint('05.5')",
        "ask('05.A')",
        color_scheme=scheme,
    )
    assert page.locator(".iwr").count() == 3
    assert ink(page) == INK[scheme]
    shot(page, f"report_exported_{scheme}")


@pytest.mark.lab
@pytest.mark.slow
def test_jupyterlab_shows_a_report_in_its_own_theme(notebook: Any, shot: Any) -> None:
    page = notebook.run(
        "from interpwidgets import check, hint",
        "check('05.5', lambda pattern, period: pattern.mean((1, -1, -2)))",
        "check('05.4', lambda pattern, tokens: [][3])",
    )
    assert page.locator(".iwr").count() == 2
    assert ink(page) == INK["light"]
    shot(page, "report_lab_light")
    page.evaluate("jupyterapp.commands.execute('apputils:change-theme', { theme: 'JupyterLab Dark' }).then(() => {})")
    page.wait_for_function("document.body.dataset.jpThemeLight === 'false'")
    assert ink(page) == INK["dark"]
    page.locator("#jupyterlab-splash").wait_for(state="detached")
    shot(page, "report_lab_dark")
