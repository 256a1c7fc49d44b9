"""The class report and a feedback page where people read them: light, dark, narrow, from disk, without a network."""

import dataclasses
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import watched

from interpwidgets.course.check import judge
from interpwidgets.course.registry import chapter, exercise
from interpwidgets.grading.class_report import Notes, class_report
from interpwidgets.grading.feedback import feedback
from interpwidgets.grading.grades import Grade, Mark, Who, mark_of, replies

pytestmark = pytest.mark.browser

AXE = Path(__file__).parents[2] / "frontend" / "node_modules" / "axe-core" / "axe.min.js"
NAMES = (
    *("Amara Nwosu", "Ben Fischer", "Chiara Rossi", "Daniel Kim", "Elif Aydın", "Farid Rahimi", "Grace Mbeki"),
    *("Hana Sato", "Ivan Petrov", "Jonas Weber", "Kavya Iyer", "Liam O’Brien", "Mei Chen", "Noor Haddad"),
    "<b onclick=alert(1)>Max</b>",
)


def stops(pattern: Any, period: int) -> Any:
    return pattern[1_000_000]


@pytest.fixture(scope="module")
def grades() -> list[Grade]:
    """A made-up class with real verdicts."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    one = exercise("05.5")
    wrong = [mark_of(judge(one, answer, extras=False), 1) for answer in (one.mistakes[0].answer, stops)]
    wrong.append(mark_of(judge(one, lambda pattern, period: one.reference(pattern, period) + 0.25, extras=False), 1))
    shape = mark_of(judge(one, lambda pattern, period: pattern.mean(-1), extras=False), 1)
    torch.set_num_threads(threads)
    rng, found = random.Random(1), chapter("05")
    return [student(name, rng, [*wrong, shape], found) for name in NAMES]


def student(name: str, rng: random.Random, wrong: list[Mark], found: Any) -> Grade:
    marks = []
    for at, one in enumerate(found.exercises):
        own = {"id": one.id, "name": one.name, "title": one.title, "points": one.points}
        passed = Mark(**own, earned=one.points, state="passed", headline="All 8 cases agree.", seed=1)
        still = Mark(**own, earned=0, state="unstarted", headline="Not started.", seed=1)
        tried = dataclasses.replace(wrong[at % len(wrong)], **own)
        marks.append(rng.choices([passed, tried, still], [14 - at, 6, at])[0])
    given = {"05.A": 4.16, "05.B": rng.choice([1, 2]), "05.C": None}
    flags = ("05.2 is answered twice (cells 9 and 31); the last counts.",) if name[0] in "BN" else ()
    return Grade(
        Who(name, name), "05", found.title, f"{name}.ipynb", "0" * 64, "3fa9c1d2", marks=tuple(marks),
        replies=replies(found.questions, given), flags=flags, late=name[0] == "H", when="2026-11-20T14:05:00+00:00",
    )  # fmt: skip


@pytest.fixture
def opened(browser: Any, grades: list[Grade], tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """``opened("class" or "feedback", width, scheme)``: the page, from disk, with the network cut."""
    lost = Grade(Who("x", "Zoe"), "", "", "zoe.ipynb", "", "3fa9c1d2", trouble="The file is empty: save it again.")
    notes = Notes("3fa9c1d2", "0.1.0", 11, missing={"05": ["Tom Ford"]}, files=[("notes.txt", "left out")])
    noor = next(one for one in grades if one.student.name == "Noor Haddad")
    (tmp_path / "class.html").write_text(class_report([*grades, lost], notes, lambda _: "feedback/x.html"), "utf-8")
    (tmp_path / "feedback.html").write_text(feedback([noor]), "utf-8")
    with ExitStack() as pages:

        def show(name: str, width: int = 1184, scheme: Any = "light", **options: Any) -> Any:
            size = {"width": width, "height": 900}
            page, watch = pages.enter_context(watched(browser, viewport=size, color_scheme=scheme, **options))
            page.goto((tmp_path / f"{name}.html").as_uri())
            pages.callback(lambda: watch.outside and pytest.fail(f"asked for {watch.outside}"))
            return page

        yield show


@pytest.mark.parametrize("name", ["class", "feedback"])
@pytest.mark.parametrize(("scheme", "ink"), [("light", "rgb(26, 29, 33)"), ("dark", "rgb(231, 233, 236)")])
def test_a_page_is_light_or_dark_as_its_reader_is(opened: Any, name: str, scheme: str, ink: str, shot: Any) -> None:
    page = opened(name, 1184 if name == "class" else 924, scheme)
    assert page.locator("main").evaluate("el => getComputedStyle(el).color") == ink
    assert page.locator("main svg use").first.evaluate("el => getComputedStyle(el).fill") is not None
    shot(page, f"{name}_{scheme}")


@pytest.mark.parametrize("name", ["class", "feedback"])
@pytest.mark.parametrize("width", [320, 420, 700, 1100])
def test_no_width_scrolls_sideways(opened: Any, name: str, width: int, shot: Any) -> None:
    page = opened(name, width)
    page.locator("summary").evaluate_all("all => all.forEach(one => (one.parentElement.open = true))")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    shot(page, f"{name}_{width}")


@pytest.mark.parametrize("name", ["class", "feedback"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_to_complain_about(opened: Any, name: str, scheme: str) -> None:
    if not AXE.exists():
        pytest.skip("axe-core is not here: run `npm ci` in frontend/")
    page = opened(name, scheme=scheme, bypass_csp=True)  # to let axe in; the page itself runs no script
    page.locator("summary").evaluate_all("all => all.forEach(one => (one.parentElement.open = true))")
    page.add_script_tag(path=AXE)
    found = page.evaluate("axe.run().then(({ violations }) => violations)")
    assert not found, [(one["id"], one["nodes"][0]["html"]) for one in found]


def test_a_mark_says_in_words_what_it_shows(opened: Any) -> None:
    rows = opened("class").locator(".gr-matrix tbody tr")
    assert rows.count() == len(NAMES)
    first = rows.first.locator("td svg").evaluate_all("all => all.map(one => one.getAttribute('aria-label'))")
    assert set(first) <= {"done", "tried", "not started"}
    assert len(first) == 13 + 3


def test_the_matrix_scrolls_by_keyboard_and_keeps_the_names_in_sight(opened: Any) -> None:
    page = opened("class", 420)
    region = page.get_by_role("region", name="Students by exercises")
    region.focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    page.wait_for_function("el => el.scrollLeft > 0", arg=region.element_handle())
    assert page.locator(".gr-matrix tbody th").first.bounding_box()["x"] >= 0


def test_the_case_of_the_most_frequent_mistake_opens(opened: Any) -> None:
    page = opened("class")
    case = page.get_by_text("Open the case")
    assert not page.locator(".gr-aside .iwr-panels").is_visible()
    case.click()
    assert page.locator(".gr-aside .iwr-panels").is_visible()


def test_what_a_student_writes_is_text(opened: Any) -> None:
    page = opened("class")
    assert page.get_by_text("<b onclick=alert(1)>Max</b>").first.is_visible()
    assert page.locator("[onclick]").count() == 0
    assert page.evaluate("document.scripts.length") == 0
