"""The showings of stimuli, every repetition one of its own, with the markers that tell of them."""

from __future__ import annotations

import math
from collections import Counter

from zygoma.guided.markers import marker
from zygoma.guided.self_report import ReportRow, SelfReport
from zygoma.guided.steps import Action, Perform, Say, Showing, Step


class Showings:
    """All showings of a session so far.

    Attributes:
        all: In order; those that were stopped or repeated included.
    """

    def __init__(self) -> None:
        self.all: list[Showing] = []
        self._repetitions: Counter[str] = Counter()

    @property
    def last(self) -> Showing | None:
        """The newest one."""
        return self.all[-1] if self.all else None

    @property
    def running(self) -> Showing | None:
        """The one that is on the screen now."""
        last = self.last
        return last if last is not None and math.isnan(last.end_s) else None

    def announce(self, step: Step) -> None:
        """The stimulus of a step will be shown, for the first time or again."""
        self._repetitions[_key(step)] += 1

    def repetition(self, step: Step) -> int:
        """Which showing of the step's stimulus it is, from 1."""
        return max(self._repetitions[_key(step)], 1)

    def on(self, step: Step, time_s: float, problem: str = "") -> list[Action]:
        """It is on the screen; an external program has said so itself."""
        assert step.stimulus is not None and step.block is not None
        stimulus = step.stimulus
        problems = [problem] if problem else []
        self.all.append(Showing(step.block.id, stimulus, self.repetition(step), time_s, math.nan, problems))
        react = Perform(stimulus.intended, time_s, time_s + stimulus.duration_s)
        if stimulus.external is not None:
            return [react]
        return [Say(marker("StimOn", stimulus.id), time_s), react]

    def off(self, time_s: float, problem: str = "") -> list[Action]:
        """What is on the screen, if anything, goes."""
        showing = self.running
        if showing is None:
            return []
        showing.end_s = time_s
        if problem:
            showing.problems.append(problem)
        if showing.stimulus.external is not None:
            return []
        return [Say(marker("StimOff", showing.stimulus.id), time_s)]

    def row(self, report: SelfReport | None, reported_s: float) -> ReportRow | None:
        """The form on the newest showing; None when nothing was shown to report on."""
        showing = self.last
        if showing is None:
            return None
        return ReportRow(
            block=showing.block,
            stimulus=showing.stimulus.id,
            repetition=showing.repetition,
            intended=showing.stimulus.intended,
            onset_s=showing.onset_s,
            duration_s=showing.end_s - showing.onset_s,
            reported_s=reported_s,
            report=report,
        )


def _key(step: Step) -> str:
    return f"{step.block.id}/{step.stimulus.id}" if step.block and step.stimulus else ""
