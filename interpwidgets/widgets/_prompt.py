"""A widget with a model behind it: the prompt can be edited in the page, and from Python, while the picture stands.

    class Heat(PromptWidget):
        def _computed(self, prompt):                # everything that can fail
            return run(self._model, prompt)

        def _shown(self, computed):                 # the traits of the new picture; nothing may fail any more
            return {"values": computed}

Whoever sets ``prompt`` in Python gets what goes wrong as an exception, and everything stays as it was. Where the page
asked, the page is told, and its picture stays.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import traitlets as t

from interpwidgets.widgets._arrays import InputError, spelled
from interpwidgets.widgets._base import InterpWidget

READY: dict[str, Any] = {"state": "ready", "text": "", "progress": None}
_FAILED = {"state": "error", "text": "The last run failed. The former picture stays.", "progress": None}


class PromptWidget(InterpWidget):
    """Runs a model for its picture, again whenever ``prompt`` changes."""

    prompt = t.Unicode("").tag(sync=True)

    _has_model = t.Bool(False).tag(sync=True)
    _status = t.Dict(READY).tag(sync=True)
    _error = t.Instance(dict, allow_none=True).tag(sync=True)

    _model: Any = None
    _tokenizer: Any = None
    _work = "Running the model"  # what the page says while a prompt is computed
    _as_one: frozenset[str] = frozenset()  # traits that reach the page in one message with what follows from them
    _fresh: tuple[str, Any] | None = None  # a prompt and what was computed for it, about to be shown
    _running = _showing = False

    def _computed(self, prompt: str) -> Any:
        """What the model gives for a prompt, checked: from here on nothing may fail."""
        raise NotImplementedError

    def _shown(self, computed: Any) -> dict[str, Any]:
        """The traits of the picture of what was computed."""
        raise NotImplementedError

    # -- another prompt ---------------------------------------------------------------------------------------

    @t.validate("prompt")
    def _runs(self, proposal: Any) -> Any:
        """Run the model before the trait changes, so that an error leaves everything as it was."""
        prompt = proposal.value
        if prompt == self.prompt:
            return spelled(prompt)
        self._fresh = self._worked(prompt)
        return self._fresh[0]

    @t.observe("prompt")
    def _prompt_changed(self, change: Any) -> None:
        if self._fresh:
            self._show(*self._fresh)
        elif not self._showing:  # changed by the page, or together with other traits
            self._run_for_page(change["new"])
            if self._error:
                with self._shown_at_once():
                    self.prompt = change["old"]

    def notify_change(self, change: Any) -> None:
        """Send a prompt and its picture, or a choice and what it shows, in one message."""
        if self._fresh or change["name"] in self._as_one:
            with self.hold_sync():
                super().notify_change(change)
        else:
            super().notify_change(change)

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """Take what the page sets. If it names what no longer exists, tell it what does."""
        try:
            super().set_state(sync_data)
        except t.TraitError as error:
            self._refused(error, sync_data)
            self.send_state([name for name in sync_data if name in self.keys])

    def _refused(self, error: t.TraitError, sync_data: dict[str, Any]) -> None:
        """What else is done about a choice of the page that cannot be; by default nothing."""

    def _worked(self, prompt: Any) -> tuple[str, Any]:
        prompt = checked_prompt(prompt)
        with self._at_work(self._work, shown=True):
            return prompt, self._computed(prompt)

    def _run_for_page(self, prompt: str) -> None:
        """Run and show; an error goes to the page, where the former picture stays."""
        if self._running or self._showing:
            return
        with self._told_to_page():
            self._show(*self._worked(prompt))

    def _show(self, prompt: str, computed: Any) -> None:
        self._fresh = None
        state = {"_status": READY, **self._shown(computed), "prompt": prompt, "_error": None}
        try:
            with self._shown_at_once():
                for name, value in state.items():
                    setattr(self, name, value)
        except Exception:  # of somebody's observer: the page still gets the whole
            self.send_state(list(state))
            raise

    @contextmanager
    def _shown_at_once(self) -> Iterator[None]:
        """One message to the page, and observers that see everything changed."""
        self._showing = True
        try:
            with self.hold_sync(), self.hold_trait_notifications():
                yield
        finally:
            self._showing = False

    # -- at work ----------------------------------------------------------------------------------------------

    @contextmanager
    def _at_work(self, what: str, shown: bool = False) -> Iterator[None]:
        """While this holds the page says what is going on; nothing else can be asked for.

        ``shown``: whether a picture follows that tells the page that it is done.
        """
        if self._model is None:
            raise InputError(
                "This widget was made from arrays: it has no model to run.",
                advice=f"{type(self).__name__}.from_model(model, text) makes one with a prompt.",
            )
        if self._running or self._showing:
            raise InputError("The model is still running.", advice="Ask again when it is done.")
        self._running = True
        try:
            with self.hold_sync():
                self._error = None
                self._progress(what, 0)
            yield
        except BaseException:
            self._status = READY
            raise
        else:
            if not shown:
                self._status = READY
        finally:
            self._running = False

    def _progress(self, what: str, done: float) -> None:
        self._status = {"state": "busy", "text": what, "progress": done}

    @contextmanager
    def _told_to_page(self) -> Iterator[None]:
        """What goes wrong here is shown by the page, since nobody in Python asked."""
        try:
            yield
        except Exception as error:
            with self.hold_sync():
                self._error = error_state(error)
                self._status = _FAILED

    def _on_message(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        match content:
            case {"type": "run", "prompt": str(prompt)}:
                self._run_for_page(prompt)


def checked_prompt(text: Any) -> str:
    """The text, as it can cross to the page. Raises `InputError` for what is no text, or an empty one."""
    if not isinstance(text, str):
        raise InputError("The prompt is not a text.", [("expected", "a string"), ("got", type(text).__name__)])
    if not text:
        raise InputError("The prompt is empty.", [("expected", "at least one character")])
    return spelled(text)


def error_state(error: Exception) -> dict[str, Any]:
    """An exception as the page shows it: one sentence, what was expected and got, what to do."""
    rows = [[spelled(label), spelled(value)] for label, value in getattr(error, "rows", [])]
    if isinstance(error, InputError):
        return {"title": error.title, "rows": rows, "advice": error.advice}
    title, _, advice = (str(error).strip() or type(error).__name__).partition("; ")
    if not isinstance(error, ValueError | TypeError):  # nobody meant this one
        title = f"{type(error).__name__}: {title}"
    sentences = [spelled(text[:1].upper() + text[1:400]) for text in (title, advice)]
    return {"title": sentences[0].rstrip(".") + ".", "rows": rows, "advice": sentences[1]}
