"""A `Verdict` -> a page and a text."""

from html import escape

from interpwidgets.course.hints import LEVELS, Help
from interpwidgets.course.questions import Asked
from interpwidgets.course.verdict import Verdict


def text(verdict: Verdict) -> str:
    """The report as plain text."""
    lead = {"passed": "Passed. ", "differs": "Not yet. ", "stopped": "Stopped ", "unstarted": ""}[verdict.state]
    lines = [f"{lead}{verdict.headline}  {verdict.exercise.id} {verdict.exercise.name}"]
    if verdict.mistake:
        lines += [f"This is a known mistake: {verdict.mistake.name}. {verdict.mistake.sentence}", verdict.mistake.next]
    if verdict.failure:
        if verdict.failure.stop:
            lines.append(f"{verdict.failure.stop.error}: {verdict.failure.stop.message}")
        lines += verdict.failure.sentences
        if verdict.failure.comparison:
            compared = verdict.failure.comparison
            lines += [f"Target\n{compared.target}", f"Yours\n{compared.yours}"]
    lines.append("   ".join(device.text for device in verdict.devices))
    return "\n".join(lines)


def html(verdict: Verdict) -> str:
    """The report as one piece of HTML."""
    return f"<pre>{escape(text(verdict))}</pre>"


def help_text(help: Help) -> str:
    lines = [f"Hints  {help.exercise.id} {help.exercise.name} · {len(help.hints)} of {len(help.exercise.hints)} shown"]
    lines += [f"{n}  {level}\n   {hint}" for n, (level, hint) in enumerate(zip(LEVELS, help.hints, strict=False), 1)]
    lines += [help.solution] if help.solution else [f"Solution: {help.opens or 'open'}"]
    return "\n".join([*lines, *help.notes])


def help_html(help: Help) -> str:
    return f"<pre>{escape(help_text(help))}</pre>"


def question_text(asked: Asked) -> str:
    question = asked.question
    lines = [f"Question {question.id}", question.text]
    lines += [f"{n}  {option.text}" for n, option in enumerate(question.options, 1)]
    return "\n".join([*lines, asked.said, *asked.notes])


def question_html(asked: Asked) -> str:
    return f"<pre>{escape(question_text(asked))}</pre>"
