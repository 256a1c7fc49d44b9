"""The frame, the style and the marks that reports, hints and questions share.

page(div("iwr-head", mark("passed", 16), prose("All `cases` agree.")))      # one piece of HTML, everything escaped
"""

import re
from collections.abc import Sequence
from functools import cache
from html import escape
from pathlib import Path

_HOSTS = ('[data-jp-theme-light="%s"]', ".vscode-%s", "html[theme=%s]", ".%s", ".%s-theme", '[data-theme="%s"]')


@cache
def style() -> str:
    """The style of every report; dark where the host says so, or the system where the host says nothing."""
    css = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    dark, light = (
        f":is({','.join(host % (jupyter if 'jp-' in host else name) for host in _HOSTS)})"
        for name, jupyter in (("dark", "false"), ("light", "true"))
    )
    rules = re.findall(r"^%dark%[^}]*\}", css, re.MULTILINE)
    exported = ':root:has(meta[name="color-scheme"][content="light dark"])'  # `export_html`: as its reader chooses
    unsaid = f".iwr:is(:not({light} *):not({dark} *), {exported} *)"
    by_system = "\n".join(rule.replace("%dark%", unsaid) for rule in rules)
    by_host = css.replace("%dark%", f"{dark} .iwr")
    return f"<style>\n{by_host}@media (prefers-color-scheme: dark) {{\n{by_system}\n}}\n</style>"


def page(*parts: str) -> str:
    """Parts of a report in their frame, with the style."""
    return f'{style()}<div class="iwr">{"".join(parts)}</div>'


def prose(sentence: str) -> str:
    """A sentence, escaped; what stands between backticks is code, a word between asterisks is stressed."""
    parts = re.split(r"`([^`]+)`", escape(sentence))
    stressed = (re.sub(r"(?<![\w*])\*([A-Za-z][\w ]{0,40}\w)\*(?![\w*])", r"<em>\1</em>", part) for part in parts)
    return "".join(f"<code>{parts[at]}</code>" if at % 2 else part for at, part in enumerate(stressed))


def div(kind: str, *parts: str) -> str:
    """Pieces of HTML in an element of this class."""
    return f'<div class="{kind}">{"".join(parts)}</div>'


def title(*parts: str) -> str:
    """The title of a panel; its last part stands at the right."""
    return div("iwr-title", *(f"<span>{part}</span>" for part in parts))


def side_by_side(panels: Sequence[str], columns: str = "") -> str:
    """Panels in a row, under each other on a narrow page."""
    inside = "".join(f'<div class="iwr-panel">{panel}</div>' for panel in panels)
    width = f";--columns:{columns}" if columns else ""
    return f'<div class="iwr-panels" style="--n:{len(panels)}{width}">{inside}</div>'


# -- marks --------------------------------------------------------------------------------------------------------

_PEN = 'fill="none" stroke="var(--paper)" stroke-width="1.3"'
_LINE = 'fill="none" stroke="var(--ink3)" stroke-width="1.5"'
_DIAMOND = '<path d="M6 0l6 6-6 6-6-6z" fill="var(--error)"/>'
_MARKS = {
    "passed": f'<circle cx="6" cy="6" r="6" fill="var(--ok)"/><path d="M3.2 6.2l2 2 3.6-4.2" {_PEN}/>',
    "differs": f'{_DIAMOND}<path d="M3.6 5h4.8M3.6 7.2h4.8M7.5 3.4l-3 5.4" {_PEN}/>',
    "stopped": f'{_DIAMOND}<path d="M6 2.8v4M6 7.9v1.3" {_PEN}/>',
    "warning": f'<path d="M6 .5L11.8 11H.2z" fill="var(--warn)"/><path d="M6 4v3.4M6 8.4v1.3" {_PEN}/>',
    "unstarted": f'<circle cx="6" cy="6" r="5" {_LINE} stroke-dasharray="2.2 2"/>',
    "absent": f'<circle cx="6" cy="6" r="3.5" {_LINE}/>',
    "tick": '<path d="M1.5 6.5l3 3 6-7" fill="none" stroke="var(--ok)" stroke-width="1.7"/>',
}
_SAID = {"passed": "passed", "differs": "differs", "stopped": "stopped", "warning": "known mistake", "tick": "holds"}


def mark(name: str, size: int) -> str:
    """A state as a shape; colour only repeats it."""
    label = f'role="img" aria-label="{_SAID[name]}"' if name in _SAID else 'aria-hidden="true"'
    return f'<svg width="{size}" height="{size}" viewBox="0 0 12 12" {label}>{_MARKS[name]}</svg>'


def standing_mark(kind: str, state: str, here: bool = False) -> str:
    """An exercise (square) or a question (disc): open, tried, hinted, done; ringed where the learner is."""
    shape = (
        '<rect x="1" y="1" width="10" height="10" rx="1.5" {0}/>'
        if kind == "exercise"
        else '<circle cx="6" cy="6" r="5" {0}/>'
    )
    full = 'fill="var(--ink1)" stroke="var(--ink1)"'
    drawn = shape.format(full if state in ("done", "hinted") else 'fill="none" stroke="var(--edge)" stroke-width="1.3"')
    if state == "hinted":
        drawn += '<circle cx="6" cy="6" r="1.8" fill="var(--paper)"/>'
    if state == "tried":
        drawn = shape.format('fill="none" stroke="var(--ink1)" stroke-width="1.3"')
        drawn += (
            '<path d="M1.5 6h9v3.5a1.2 1.2 0 0 1-1.2 1.2H2.700a1.200 1.200 0 0 1-1.200-1.200z" fill="var(--ink1)"/>'
        )
    ring = ' style="outline:2px solid var(--accent);outline-offset:2px;border-radius:2px;margin:0 4px"' if here else ""
    return f'<svg width="12" height="12" viewBox="0 0 12 12"{ring}><title>{escape(state)}</title>{drawn}</svg>'
