"""Hints, solutions and questions -> HTML and text, in the style of `interpwidgets.course.report`.

help_html(hint("05.2")), help_text(hint("05.2"))
question_html(ask("05.A")), question_text(ask("05.A"))
"""

from html import escape
from typing import TYPE_CHECKING

from interpwidgets.course.markup import div, mark, page, prose

if TYPE_CHECKING:
    from interpwidgets.course.hints import Help
    from interpwidgets.course.questions import Asked

LEVELS = ("Idea", "Shape of the solution", "Pseudo-code")


# -- hints --------------------------------------------------------------------------------------------------------


def help_html(help_: "Help") -> str:
    """What is open of an exercise, level by level; what comes next says what opens it."""
    exercise = help_.exercise
    name = escape(exercise.id)
    meta = f"{name} {escape(exercise.name)} · {len(help_.hints)} of {len(exercise.hints)} shown"
    head = f'<div class="iwr-head"><h3>Hints</h3><span class="iwr-quiet iwr-meta">{meta}</span></div>'
    levels = "".join(_level(at, help_) for at in range(len(exercise.hints)))
    notes = "".join(f'<div class="iwr-caption">{prose(note)}</div>' for note in help_.notes)
    foot = '<div class="iwr-foot"><span>Hints are counted, never charged</span></div>'
    return page(head, levels, _solution(help_), notes, foot)


def _level(at: int, help_: "Help") -> str:
    title = LEVELS[at] if at < len(LEVELS) else f"Hint {at + 1}"
    if at < len(help_.hints):
        told = help_.hints[at]
        body = f"<pre>{escape(told)}</pre>" if title == "Pseudo-code" or "\n" in told else f"<p>{prose(told)}</p>"
        return div("iwr-level", f'<span class="iwr-number iwr-on">{at + 1}</span>', f"<div><b>{title}</b>{body}</div>")
    call = f'<code>hint("{escape(help_.exercise.id)}")</code>' if at == len(help_.hints) else ""
    return div("iwr-level", f'<span class="iwr-number">{at + 1}</span>', div("iwr-quiet", title), call)


def _solution(help_: "Help") -> str:
    if help_.solution:
        body = f'<b>Solution</b><pre class="iwr-code" style="padding:8px">{escape(help_.solution)}</pre>'
        return f'<div class="iwr-level"><span class="iwr-number iwr-on">=</span><div>{body}</div></div>'
    opens = escape(help_.opens) if help_.opens else f'<code>solution("{escape(help_.exercise.id)}")</code>'
    return (
        '<div class="iwr-level"><span class="iwr-number iwr-off">=</span><div class="iwr-quiet">Solution</div>'
        f'<span class="iwr-small">{opens}</span></div>'
    )


def help_text(help_: "Help") -> str:
    """The same for a terminal."""
    exercise = help_.exercise
    lines = [f"Hints   {exercise.id} {exercise.name} · {len(help_.hints)} of {len(exercise.hints)} shown"]
    for at, told in enumerate(help_.hints):
        title = LEVELS[at] if at < len(LEVELS) else f"Hint {at + 1}"
        lines += [f"{at + 1}  {title}", *(f"   {line}" for line in told.splitlines())]
    if len(help_.hints) < len(exercise.hints):
        lines.append(f'{len(help_.hints) + 1}  hint("{exercise.id}") shows it')
    if help_.solution:
        lines += ["=  Solution", *(f"   {line}" for line in help_.solution.splitlines())]
    else:
        told = f"opens {help_.opens}" if help_.opens else f'solution("{exercise.id}") shows it'
        lines.append(f"=  Solution: {told}")
    return "\n".join([*lines, *help_.notes])


# -- questions ----------------------------------------------------------------------------------------------------


def question_html(asked: "Asked") -> str:
    """A question with its options numbered; after an answer its reason stands in the option that was chosen."""
    question = asked.question
    head = (
        f'<div class="iwr-head"><h3>Question {escape(question.id)}</h3>'
        f'<span class="iwr-quiet iwr-meta">{escape(_meta(asked))}</span></div>'
    )
    body = f'<div class="iwr-text"><p>{prose(question.text)}</p></div>'
    options = "".join(_option(at, asked) for at in range(1, len(question.options) + 1))
    return page(head, body, options, _said(asked), _call(asked), *(f"<div>{prose(note)}</div>" for note in asked.notes))


def _meta(asked: "Asked") -> str:
    points = asked.question.points
    noun = "point" if points == 1 else "points"
    if asked.right:
        return f"answered, {points} of {points} {noun}"
    if asked.tries:
        return f"try {asked.tries}"
    kind = "pick one" if asked.question.options else "a number"
    return f"{points} {noun} · {asked.question.title or kind}"


def _option(at: int, asked: "Asked") -> str:
    option = asked.question.options[at - 1]
    if asked.given != at:
        return f'<div class="iwr-option"><span class="iwr-number">{at}</span><span>{prose(option.text)}</span></div>'
    sign = mark("passed" if asked.right else "differs", 16)
    return f'<div class="iwr-option iwr-on">{sign}<b>{prose(option.text)}</b><p>{prose(asked.said)}</p></div>'


def _said(asked: "Asked") -> str:
    question = asked.question
    if not asked.said or (question.options and asked.given is not None):
        return ""
    if asked.given is None:
        return f'<div class="iwr-text"><p>{prose(asked.said)}</p></div>'
    value = f"{asked.given:.6g}".replace("-", "−")
    unit = f" {escape(question.unit)}" if question.unit else ""
    if asked.right:
        return (
            f'<div class="iwr-option iwr-on">{mark("passed", 16)}<b>{value}{unit}</b><p>{prose(asked.said)}</p></div>'
        )
    lead = f'<b class="iwr-warn">Not yet: {value}{unit}.</b> {prose(asked.said)}'
    if asked.slip:
        return f'<div class="iwr-band">{mark("warning", 12)}<div><p>{lead}</p></div></div>'
    return f'<div class="iwr-text"><p><b>Not yet: {value}{unit}.</b> {prose(asked.said)}</p></div>'


def _call(asked: "Asked") -> str:
    if asked.right:
        return ""
    example = "2" if asked.question.options else "1.5"
    what = (
        "picks the second"
        if asked.question.options
        else f"answers{' in ' + asked.question.unit if asked.question.unit else ''}"
    )
    call = f'answer("{asked.question.id}", {example})'
    return div("iwr-next", f"<span><code>{escape(call)}</code> {escape(what)}</span>")


def question_text(asked: "Asked") -> str:
    """The same for a terminal."""
    question = asked.question
    lines = [f"Question {question.id}   {_meta(asked)}", question.text]
    lines += [f"{'>' if asked.given == at else ' '} {at}  {one.text}" for at, one in enumerate(question.options, 1)]
    if asked.said:
        lead = "" if asked.given is None else ("Right. " if asked.right else "Not yet. ")
        lines.append(asked.said if asked.said.startswith(lead.strip() or "\0") else f"{lead}{asked.said}")
    return "\n".join([*lines, *asked.notes])
