"""Who presses the buttons of a session that has no page: a person at the terminal, or the program itself."""

from __future__ import annotations

import queue
import sys
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from rich.console import Console

from acquisition.stream import ZygomaError
from fusion.rules import CATEGORY_OF
from fusion.tables import EMOTIONS
from zygoma.guided.session import GuidedSession
from zygoma.guided.steps import Phase, StepKind, View


class Driver(Protocol):
    """Looks at the session now and then and does what is to be done."""

    def drive(self) -> None:
        """Called after every tick; must not wait."""


class Nobody:
    """The pages drive."""

    def drive(self) -> None:
        """Do nothing."""


class AutoDriver:
    """Begins every step, answers as the stimulus intends, redoes what failed, and overrides what fails again.

    Args:
        session: To drive.
        tell: Receives a line per step; None stays silent.
    """

    RED_FOR_TICKS = 400
    """A checklist that is red for so many looks (20 s) is overridden: devices need a moment."""

    REDOS = 1
    """Of each step; what fails again is overridden."""

    def __init__(self, session: GuidedSession, tell: Callable[[str], Any] | None = None) -> None:
        self._session = session
        self._tell = tell
        self._told = ""
        self._waited_ticks = 0
        self._redone: Counter[str] = Counter()

    def drive(self) -> None:
        """See `Driver`."""
        view = self._session.view()
        line = f"{view.number}/{view.count} {view.title}: {view.sentence}"
        if self._tell is not None and line != self._told:
            self._tell(line)
        self._told = line
        if view.outcome:
            return
        self._waited_ticks = self._waited_ticks + 1 if view.kind is StepKind.PREFLIGHT else 0
        if "next" in view.commands:
            self._session.command("next")
        elif view.problems and "redo" in view.commands and self._redone[view.title] < self.REDOS:
            self._redone[view.title] += 1
            self._session.command("redo")
        elif view.problems:
            self._session.command("override", f"automatic run: {view.problems[0]}")
        elif view.kind is StepKind.PREFLIGHT and self._waited_ticks > self.RED_FOR_TICKS:
            red = [check.label for check in view.checks if check.required and not check.ok]
            self._session.command("override", f"automatic run: {', '.join(red)} red")
        elif view.kind is StepKind.REPORT:
            self._session.report(answer(view, self._session.protocol.self_report.scales))
        elif view.part == "external" and view.stimulus is not None:
            self._session.heard(f"StimOn {view.stimulus.id}")


def answer(view: View, scales: tuple[str, ...]) -> dict[str, Any]:
    """The form of somebody who felt what the stimulus was to elicit."""
    intended = view.stimulus.intended if view.stimulus is not None else "neutral"
    category = CATEGORY_OF.get(intended, "other")
    answers = {
        "valence": {"positive": 8, "negative": 2}.get(category, 5),
        "arousal": 3 if intended == "neutral" else 6,
        "emotions": {name: 7 if name == intended else 0 for name in EMOTIONS},
        "text": "automatic run",
    }
    return {scale: answers[scale] for scale in scales}


class TerminalDriver:
    """Prompts in the terminal; a line that a person types is a command or an answer.

    Args:
        session: To drive.
        console: To speak through.
        lines: Gives the next line, raises EOFError at the end; None reads stdin.
    """

    HELP = "Enter = next, /redo, /override REASON, /abort REASON; any other text is a note"

    def __init__(
        self, session: GuidedSession, console: Console, lines: Callable[[], str] | None = None
    ) -> None:
        self._session = session
        self._console = console
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._told = ""
        self._answers: dict[str, Any] = {}
        self._say(self.HELP)
        read = lines or _read_line
        threading.Thread(target=self._read, args=(read,), name="zygoma-prompt", daemon=True).start()

    def _read(self, read: Callable[[], str]) -> None:
        while True:
            try:
                self._lines.put(read())
            except EOFError:
                return

    def drive(self) -> None:
        """See `Driver`."""
        self._show(self._session.view())
        try:
            line = self._lines.get_nowait()
        except queue.Empty:
            return
        try:
            self._obey(line.strip(), self._session.view())
        except ZygomaError as error:
            self._say(str(error))

    def _show(self, view: View) -> None:
        lines = [f"[{view.number}/{view.count}] {view.title}: {view.sentence}"]
        if view.kind is StepKind.PREFLIGHT:
            lines += [
                f"    {'ok ' if c.ok else 'RED'} {c.label}: {c.detail}" for c in view.checks if not c.ok
            ]
        lines += [f"    {text}" for text in (*view.problems, *view.findings)]
        if view.instruction and view.phase is Phase.RUNNING:
            lines.append(f"    Say: {view.instruction}")
        question = self._question()
        if question and view.kind is StepKind.REPORT:
            lines.append(f"    {question[1]}")
        text = "\n".join(lines)
        if text != self._told:
            self._told = text
            self._say(text)

    def _obey(self, line: str, view: View) -> None:
        if line.startswith("/"):
            word, _, rest = line[1:].partition(" ")
            self._session.command(word, rest)
        elif view.kind is StepKind.REPORT and not view.outcome:
            self._answer(line)
        elif not line:
            self._session.command("next")
        else:
            self._session.command("note", line)

    def _question(self) -> tuple[str, str] | None:
        """The next unanswered item of the form, as its key and what to ask."""
        questions = {
            "valence": "Valence, 1 (unpleasant) to 9 (pleasant)?",
            "arousal": "Arousal, 1 (calm) to 9 (excited)?",
            **{f"emotions.{name}": f"{name.capitalize()}, 0 (not at all) to 10 (most)?" for name in EMOTIONS},
            "text": "In your own words (Enter for nothing)?",
        }
        scales = self._session.protocol.self_report.scales
        for key, question in questions.items():
            if key.partition(".")[0] in scales and key not in self._answers:
                return key, question
        return None

    def _answer(self, line: str) -> None:
        question = self._question()
        if question is not None:
            key = question[0]
            low, high = (0, 10) if key.startswith("emotions.") else (1, 9)
            if key != "text" and not (line.isdigit() and low <= int(line) <= high):
                self._say(f"Please answer with a number from {low} to {high}.")
                return
            self._answers[key] = line if key == "text" else int(line)
        if self._question() is None:
            answers, self._answers = self._answers, {}
            emotions = {
                key.partition(".")[2]: value for key, value in answers.items() if key.startswith("emotions.")
            }
            form = {key: value for key, value in answers.items() if not key.startswith("emotions.")}
            self._session.report({**form, "emotions": emotions} if emotions else form)

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)


def _read_line() -> str:
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line
