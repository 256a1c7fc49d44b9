"""Progress in front of a learner: with the mouse, the keyboard, a screen reader, light and dark, wide and narrow."""

from pathlib import Path
from typing import Any

import pytest

from interpwidgets.widgets.progress import Progress

AXE = Path(__file__).parents[2] / "frontend" / "node_modules" / "axe-core" / "axe.min.js"
PARTS = [
    "I Foundations",
    "II Attention and circuits",
    "III Superposition and features",
    "IV Causality",
    "V Attribution",
]
COURSE = [
    (0, "A transformer you can open", "ddddhdDD", 204),
    (0, "Residual stream and lenses", "dddhdDD", 162),
    (1, "Reading attention, and when not to", "ddddDD", 114),
    (1, "QK and OV algebra, SVD, channels", "ddhddhDH", 228),
    (1, "Induction heads and in-context learning", "dt....DOTH", 66),
    (1, "A zoo of circuits", ".......OO", 0),
    (2, "Toy models of superposition", "dddt..DO", 96),
    (2, "Sparse autoencoders and dictionaries", ".......OO", 0),
    (2, "Transcoders, feature circuits, judging SAEs", "......OO", 0),
    (2, "Neurons and activations", ".....OO", 0),
    (3, "Patching done right", "......OO", 0),
    (3, "Automated circuit discovery and proofs", "......OO", 0),
    (4, "Gradients, Shapley, context mixing", "......OO", 0),
]
STATES = {"d": "done", "h": "hinted", "t": "tried", ".": "open", "o": "open"}


def course() -> list[dict[str, Any]]:
    chapters = []
    for n, (part, title, marks, minutes) in enumerate(COURSE, 1):
        items = []
        for i, sign in enumerate(marks):
            question = sign.isupper()
            name = f"{n:02}.{chr(65 + i) if question else i + 1}"
            state = STATES[sign.lower()]
            item = {
                "id": name,
                "name": "induction_score",
                "kind": "question" if question else "exercise",
                "state": state,
            }
            items.append({**item, "points": 1 if question else 2, "minutes": 10, "tries": 3 * (state == "tried")})
        chapter = {"number": f"{n:02}", "title": title, "part": PARTS[part], "items": items, "minutes": minutes}
        chapters.append(chapter)
    return chapters


@pytest.fixture
def shown() -> Progress:
    return Progress(course(), "05.2")


def focused(bridge: Any) -> str:
    return str(bridge.page.evaluate("document.activeElement.dataset.item ?? ''"))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_says_where_the_learner_stands(bridge, shot, theme):
    figure = bridge.show(Progress(course(), "05.2", theme=theme))
    bridge.page.evaluate("theme => document.body.style.background = theme === 'dark' ? '#111' : '#fff'", theme)
    assert "61 of 180" in figure.locator(".iw-totals").inner_text()
    assert "05.2 induction_score" in figure.locator("[data-part=next]").inner_text()
    assert "tried 3 times, 2 points, about 10 minutes" in figure.locator("[data-part=next]").inner_text()
    bridge.page.set_viewport_size({"width": 892, "height": 700})
    shot(figure, f"progress_{theme}")


def test_a_screen_reader_hears_lists_of_items(bridge, shown):
    figure = bridge.show(shown)
    chapter = figure.get_by_role("list", name="chapter 05")
    assert chapter.get_by_role("listitem").count() == 10
    name = "05.2 induction_score, exercise, tried 3 times, 2 points, about 10 minutes, where you are"
    assert chapter.get_by_role("img", name=name).count() == 1
    assert figure.get_by_role("rowheader", name="Induction heads and in-context learning").count() == 1
    assert figure.get_by_role("columnheader", name="exercises and questions").count() == 1


def test_the_keyboard_walks_over_the_marks(bridge, shown):
    figure = bridge.show(shown)
    figure.get_by_role("button", name="Export").focus()
    bridge.page.keyboard.press("Tab")
    assert focused(bridge) == "05.2"
    for key, expected in [("ArrowRight", "05.3"), ("ArrowUp", "04.3"), ("End", "04.H"), ("ArrowRight", "04.H")]:
        bridge.page.keyboard.press(key)
        assert focused(bridge) == expected
    for key, expected in [("Home", "04.1"), ("ArrowDown", "05.1"), ("ArrowLeft", "05.1")]:
        bridge.page.keyboard.press(key)
        assert focused(bridge) == expected
    assert "05.1 induction_score done, 2 points" in figure.locator("[data-part=readout]").inner_text()
    bridge.page.keyboard.press("Tab")
    assert focused(bridge) == ""


def test_what_python_sets_is_drawn_and_the_focus_stays(bridge, shown):
    figure = bridge.show(shown)
    figure.locator("[data-item='05.3']").focus()
    chapters = course()
    chapters[4]["items"][1]["state"] = "done"
    with shown.hold_sync():
        shown.chapters, shown.current = chapters, "05.3"
    bridge.pump()
    assert "63 of 180" in figure.locator(".iw-totals").inner_text()
    assert "05.3" in figure.locator("[data-part=next]").inner_text()
    assert focused(bridge) == "05.3"


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 900])
def test_axe_finds_nothing_to_complain_about(bridge, theme, width):
    if not AXE.exists():
        pytest.skip("axe-core is not here: run `npm ci` in frontend/")
    bridge.page.set_viewport_size({"width": width, "height": 900})
    figure = bridge.show(Progress(course(), "05.2", "Progress is not saved.", theme=theme))
    bridge.page.evaluate("theme => document.body.style.background = theme === 'dark' ? '#111' : '#fff'", theme)
    figure.locator("[data-item='05.2']").hover()
    bridge.page.add_script_tag(path=AXE)
    found = bridge.page.evaluate(
        "async () => (await axe.run('.iw')).violations.map((v) => [v.id, v.nodes.map((n) => n.html)])"
    )
    assert found == []


@pytest.mark.parametrize("width", [320, 420, 640, 700, 900])
def test_no_width_scrolls_the_page_sideways(bridge, shown, width):
    bridge.page.set_viewport_size({"width": width, "height": 900})
    bridge.show(shown)
    assert bridge.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_narrow_page_begins_where_the_learner_is(bridge, shown, shot):
    bridge.page.set_viewport_size({"width": 420, "height": 900})
    figure = bridge.show(shown)
    assert figure.get_by_role("list", name="chapter 01").count() == 0
    shot(figure, "progress_narrow")
    figure.get_by_role("button", name="Show all 13 chapters").click()
    assert figure.get_by_role("list", name="chapter 01").count() == 1
    figure.get_by_role("button", name="Show fewer chapters").click()
    assert figure.get_by_role("list", name="chapter 01").count() == 0


def test_names_are_text_and_never_markup(bridge):
    chapters = course()[:1]
    chapters[0]["title"] = chapters[0]["items"][0]["name"] = "<img src=x onerror=alert(1)>"
    figure = bridge.show(Progress(chapters, "01.1", "<b>bold</b>"))
    assert figure.inner_text().count("<img src=x onerror=alert(1)>") == 2
    assert "<b>bold</b>" in figure.inner_text()
    assert figure.locator("img, b").count() == 0


def test_a_dismissed_note_stays_in_the_state_line(bridge):
    figure = bridge.show(Progress(course(), "05.2", "Progress is not saved."))
    state = figure.locator("[data-part=state]")
    assert state.inner_text() == "See the note above"
    figure.get_by_role("button", name="dismiss").click()
    assert figure.get_by_role("note").count() == 0
    assert state.inner_text() == "Progress is not saved."


@pytest.mark.parametrize("width", [420, 700, 900])
def test_reading_a_mark_moves_nothing(bridge, shown, width):
    bridge.page.set_viewport_size({"width": width, "height": 900})
    figure = bridge.show(shown)
    before = figure.bounding_box()
    figure.locator("[data-item='05.2']").hover()
    assert figure.locator("[data-part=readout]").inner_text()
    assert figure.bounding_box() == before


def test_the_table_comes_out_as_csv(bridge, shown):
    figure = bridge.show(shown)
    figure.get_by_role("button", name="Export").click()
    with bridge.page.expect_download() as download:
        figure.get_by_role("menuitem", name="Table CSV").click()
    text = Path(download.value.path()).read_text("utf-8-sig")
    assert "05,Induction heads and in-context learning,05.2,induction_score,exercise,tried,2" in text.splitlines()


def test_an_exported_page_needs_no_kernel(exported, shot):
    cell = f"from interpwidgets.widgets.progress import Progress\nProgress({course()!r}, '05.2')"
    page = exported(cell)
    page.locator("[data-item='05.2']").hover()
    assert "05.2 induction_score tried 3 times" in page.locator("[data-part=readout]").inner_text()


def test_an_empty_course_says_so(bridge):
    assert "There are no exercises yet." in bridge.show(Progress([])).inner_text()
