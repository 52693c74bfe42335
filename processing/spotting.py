"""Finds micro-movements of the face as they happen: where, which way, from when to when, and how surely.

`MicroMovementSpotter` looks for brief excursions of every region, and of regions that move together, in eight
directions (`spotting_kernel`), joins those that belong to one movement, and weighs them against what else
the face was doing (`spotting_evidence`). It is causal: a movement is announced just past its apex and
confirmed within a frame and 20 ms of its offset.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from acquisition.stream import Block
from processing import spotting_kernel as kernel
from processing.findings import Movement, Side
from processing.motion_regions import base_name, side_of
from processing.spotting_anatomy import MEMBERS, MIX_X, MIX_Y, REGIONS, WATCHED, units_moving
from processing.spotting_context import Context, Trail
from processing.spotting_evidence import WEIGHTS, Judgement, judge, units_of
from processing.spotting_habits import ALONE_S, LATEST_S, Seen, habit, stands_alone
from processing.spotting_types import Excursion, SpotterSettings, joined, overlap_share, readings, strongest

_PRIOR_SIGMA_PX = 0.12
_TRAIL_S = 1.0
_SHARP_S = 0.05
"""Below this time scale the length that smoothing adds is taken off again: it matters for what is short."""

_NO_SNIFF = -WEIGHTS["nose"]
"""Log-odds of being no sniff: what the fit holds against every movement of the nose is taken back."""

_LONGEST_TAPS = 17
_FRAMES_TO_WARM = 8
_SECOND_DIFFERENCE_SPREAD = 1.5**0.5
"""Of a second difference over a chord, per standard deviation of white noise."""


class _Bank:
    """Positions of everything watched, smoothed over one time scale, and the noise of their excursions."""

    def __init__(self, smooth_s: float, shortest_s: float, settings: SpotterSettings) -> None:
        self.shortest_s = shortest_s
        self._smooth_s = smooth_s
        self._settings = settings
        self._found = np.zeros((512, kernel.FIELDS))
        self._differences = np.zeros((len(kernel.NOISE_SPANS_S), len(WATCHED), 2))
        self.sigma = np.full((len(kernel.NOISE_SPANS_S), len(WATCHED), 2), _PRIOR_SIGMA_PX)
        self._noise_rows: deque[tuple[float, NDArray[np.float64]]] = deque()
        self._noise_due_s = self._noise_kept_s = -np.inf
        self.restart(1 / 30)

    def restart(self, frame_s: float) -> None:
        """Begin a new stretch of face at this frame interval; what was learned about noise stays."""
        length = 2 * int(0.5 * self._smooth_s / frame_s + 0.5) + 1
        taps = np.bartlett(length + 2)[1:-1]
        self.taps = taps / taps.sum()
        # Smoothing widens, and so do the straight lines drawn between frames.
        variance = float(self.taps @ (np.arange(length) - length // 2) ** 2) + 1.0 / 6.0
        self._blur_s = frame_s * variance**0.5 if self._smooth_s < _SHARP_S else 0.0
        self.history = np.zeros((1024, len(WATCHED), 2))
        self.times = np.zeros(1024)
        self.newest = -1
        self.count = 0
        self._over = np.full((len(WATCHED), kernel.DIRECTIONS), -np.inf)
        self._passed = self._over.copy()

    def append(self, stamps: deque[float], positions: NDArray[np.float64]) -> bool:
        """Add the symmetric mean of the last rows, stamped at its middle; False while there are too few."""
        length = len(self.taps)
        if len(stamps) < length:
            return False
        self.newest = (self.newest + 1) % len(self.times)
        self.count = min(self.count + 1, len(self.times))
        kernel.weighted_mean(positions, self.taps, self.history[self.newest])
        self.times[self.newest] = stamps[-1 - length // 2]
        self._learn_noise(stamps[-1])
        return self.count > 3

    def _learn_noise(self, time_s: float) -> None:
        """Robust spread of chance excursions over the trailing seconds, renewed twice a second."""
        if time_s - self._noise_kept_s < 0.055:
            return
        if not kernel.second_differences(
            self.history, self.times, self.newest, self.count, self._differences
        ):
            return
        self._noise_kept_s = time_s
        self._noise_rows.append((time_s, self._differences.copy()))
        while time_s - self._noise_rows[0][0] > self._settings.noise_memory_s:
            self._noise_rows.popleft()
        if time_s < self._noise_due_s or len(self._noise_rows) < 10:
            return
        self._noise_due_s = time_s + 0.5
        spread = np.median(np.abs(np.stack([row for _, row in self._noise_rows])), axis=0) / 0.6745
        # Few rows know little: lean on the prior until two seconds have been seen.
        known = min(1.0, len(self._noise_rows) / 30.0)
        self.sigma = np.maximum(known * spread + (1 - known) * _PRIOR_SIGMA_PX, self._settings.noise_floor_px)

    def excursions(self, fallen_share: float) -> list[Excursion]:
        """What is over, or just past its apex, as of the newest sample."""
        n = kernel.find_excursions(
            self.history,
            self.times,
            self.newest,
            self.count,
            self.sigma,
            self._settings.candidate_z,
            self._settings.candidate_px,
            fallen_share,
            self._over if fallen_share >= kernel.FALLEN_SHARE else self._passed,
            self._found,
        )
        longest = self._settings.longest_s
        every = (Excursion.of(self._found[k]) for k in range(n))
        return [
            each.sharpened(self._blur_s) for each in every if self.shortest_s <= each.duration_s <= longest
        ]

    def trail(self, excursion: Excursion) -> Trail:
        """How everything watched moved since a second before an excursion."""
        order = (self.newest - np.arange(self.count)[::-1]) % len(self.times)
        order = order[self.times[order] >= excursion.onset_s - _TRAIL_S]
        duration_s = min(max(excursion.duration_s, kernel.NOISE_SPANS_S[0]), kernel.NOISE_SPANS_S[-1])
        k = min(int(np.searchsorted(kernel.NOISE_SPANS_S, duration_s, side="right")), len(self.sigma) - 1)
        low, high = kernel.NOISE_SPANS_S[k - 1], kernel.NOISE_SPANS_S[k]
        share = (duration_s - low) / (high - low)
        spread = (1 - share) * self.sigma[k - 1] + share * self.sigma[k]
        return Trail(self.times[order], self.history[order], spread / _SECOND_DIFFERENCE_SPREAD)


class MicroMovementSpotter:
    """Finds movements in FaceMotion rows.

    Any chunking gives the same movements. A gap or a lost face longer than 0.2 s starts afresh, keeping the
    noise that was learned. A movement is confirmed at its end; should the next second show it to have been
    part of speech, of a sniff or of a larger movement, it comes once more, under its number, with that for a
    veto. A movement taken for a sniff comes once more without that veto when nothing has repeated it.

    Args:
        threshold: See `SpotterSettings`; None takes the default.
        settings: Everything else.
    """

    def __init__(self, threshold: float | None = None, settings: SpotterSettings | None = None) -> None:
        settings = settings or SpotterSettings()
        self.settings = settings if threshold is None else replace(settings, threshold=threshold)
        self.reset()

    def reset(self) -> None:
        """Forget everything, noise included."""
        self._next_id = 1
        self._columns: NDArray[np.int64] | None = None
        self._fast = _Bank(0.032, self.settings.shortest_s, self.settings)
        self._slow = _Bank(0.1, 0.16, self.settings)
        self._restart()

    def _restart(self) -> None:
        self._warm = False
        self._frame_s = 1 / 30
        self._stamps: deque[float] = deque(maxlen=_LONGEST_TAPS)
        self._positions = np.zeros((_LONGEST_TAPS, len(WATCHED), 2))
        self._pending: list[list[Excursion]] = []
        self._announced: deque[Movement] = deque(maxlen=16)
        self._confirmed: deque[Movement] = deque(maxlen=64)
        self._clear: deque[Excursion] = deque(maxlen=24)
        self._seen: deque[Seen] = deque(maxlen=24)
        self._revocable: list[tuple[Movement, Seen]] = []
        self._sniffs: deque[tuple[Movement, Seen]] = deque()
        self._context = Context()
        self._last_s = -np.inf

    def process(self, motion: Block, action_units: Block | None = None) -> list[Movement]:
        """Movements announced, confirmed or withdrawn, and acquitted in these rows, in that order.

        Args:
            motion: FaceMotion rows.
            action_units: ActionUnits rows of the same stamps; without them blinks are seen in the lids alone.
        """
        if not len(motion):
            return []
        if self._columns is None:
            names = [f"{region}_{axis}" for region in REGIONS for axis in ("dx", "dy")]
            self._columns = np.array([motion.spec.index(name) for name in names], dtype=np.int64)
        context = Context.rows(motion, action_units)
        rows = motion.array
        found: list[Movement] = []
        for i, time_s in enumerate(motion.timestamps):
            found.extend(self._step(float(time_s), rows[i, self._columns], context[i]))
        return found

    def _step(self, time_s: float, row: NDArray[np.float32], context: NDArray[np.float64]) -> list[Movement]:
        if not np.isfinite(row).all():
            return []
        # Motion begins at exactly zero: a row of zeros means that it was lost and begins anew.
        if time_s - self._last_s > 0.2 or not row.any():
            self._restart()
        self._last_s = time_s
        self._context.append(time_s, context)
        kernel.watch(row, MIX_X, MIX_Y, self._positions)
        self._stamps.append(time_s)
        if not self._warm:
            if len(self._stamps) < _FRAMES_TO_WARM:
                return []
            self._frame_s = float(np.median(np.diff(self._stamps)))
            self._fast.restart(self._frame_s)
            self._slow.restart(self._frame_s)
            self._warm = True
        announced: list[Movement] = []
        for bank in (self._fast, self._slow):
            if not bank.append(self._stamps, self._positions):
                continue
            for excursion in bank.excursions(kernel.FALLEN_SHARE):
                self._take(excursion, time_s)
            if bank is self._fast:
                announced = self._announce(bank.excursions(0.3), time_s)
        return announced + self._decide(time_s) + self._acquit(time_s)

    def _take(self, excursion: Excursion, time_s: float) -> None:
        if time_s - excursion.offset_s > self.settings.wait_s + self._frame_s:
            return  # Seen too late to be confirmed in time.
        reach_s = excursion.onset_s - self.settings.together_s  # Those over before this cannot be joined.
        if any(
            earlier.offset_s > reach_s
            and excursion.z < 1.5 * earlier.z
            and joined(earlier, excursion, self.settings.together_s)
            for earlier in self._clear
        ):
            return
        for group in self._pending:
            if joined(strongest(group), excursion, self.settings.together_s):
                group.append(excursion)
                return
        self._pending.append([excursion])

    def _announce(self, passed: list[Excursion], time_s: float) -> list[Movement]:
        """A provisional movement for the strongest excursion that has just passed its apex."""
        if not passed:
            return []
        best = strongest(passed)
        near = self.settings.together_s
        if best.z < 1.5 * self.settings.candidate_z or any(
            abs(movement.apex_s - best.peak_s) <= near for movement in (*self._announced, *self._confirmed)
        ):
            return []
        judgement = self._judge(passed)
        if judgement.vetoes:
            return []
        movement = self._describe(self._new_id(), judgement, time_s, provisional=True)
        self._announced.append(movement)
        return [movement]

    def _decide(self, time_s: float) -> list[Movement]:
        decided: list[Movement] = []
        waiting: list[list[Excursion]] = []
        for group in self._pending:
            if time_s < strongest(group).offset_s + self.settings.wait_s:
                waiting.append(group)
                continue
            decided += self._confirm(group, time_s)
        self._pending = waiting
        return decided

    def _confirm(self, group: list[Excursion], time_s: float) -> list[Movement]:
        """The movement that these excursions make, if any, and earlier ones that it puts in doubt."""
        judgement = self._weigh(group)
        if judgement.clear:
            self._clear.append(judgement.seen.best)
        covered = [each for each in self._confirmed if overlap_share(each, judgement.seen.best) > 0.5]
        if covered:
            return self._replace(covered, judgement, time_s)
        self._seen.append(judgement.seen)
        withdrawn = self._withdraw(judgement.seen, time_s)
        return [self._verdict(judgement, time_s), *withdrawn] if judgement.told else withdrawn

    def _weigh(self, group: list[Excursion]) -> Judgement:
        """The likeliest reading of excursions that came together."""
        judgements = [self._judge(reading) for reading in readings(group)]
        return max(judgements, key=lambda judgement: judgement.log_likelihood_ratio)

    def _replace(self, covered: list[Movement], judgement: Judgement, time_s: float) -> list[Movement]:
        """Withdraw movements that turn out to be ripples of a likelier one, and tell that one instead."""
        ratio = judgement.log_likelihood_ratio
        if judgement.vetoes or not all(ratio > each.log_likelihood_ratio for each in covered):
            return []
        for each in covered:
            self._confirmed.remove(each)
        self._revocable = [(each, seen) for each, seen in self._revocable if each not in covered]
        self._seen.append(judgement.seen)
        movement = self._verdict(judgement, time_s)
        return [movement, *(replace(each, vetoes=("ripple",), found_s=time_s) for each in covered)]

    def _withdraw(self, now: Seen, time_s: float) -> list[Movement]:
        """Movements that turn out to be part of a habit, with its name for a veto."""
        withdrawn: list[Movement] = []
        standing: list[tuple[Movement, Seen]] = []
        for movement, seen in self._revocable:
            cause = habit(seen, now)
            if cause:
                withdrawn.append(replace(movement, vetoes=(*movement.vetoes, cause), found_s=time_s))
            elif now.best.peak_s - seen.best.peak_s < LATEST_S:
                standing.append((movement, seen))
        self._revocable = standing
        return withdrawn

    def _acquit(self, time_s: float) -> list[Movement]:
        """Movements taken for a sniff that nothing has repeated, unless others were told in their place."""
        acquitted: list[Movement] = []
        while self._sniffs and time_s >= self._sniffs[0][0].offset_s + ALONE_S:
            movement, seen = self._sniffs.popleft()
            told = any(overlap_share(each, seen.best) > 0.5 for each in self._confirmed)
            if not told and stands_alone(seen, self._fast.trail(seen.best), time_s):
                ratio = movement.log_likelihood_ratio + _NO_SNIFF
                acquitted.append(replace(movement, vetoes=(), log_likelihood_ratio=ratio, found_s=time_s))
                self._confirmed.append(acquitted[-1])
        return acquitted

    def _verdict(self, judgement: Judgement, time_s: float) -> Movement:
        best = judgement.seen.best
        earlier = [m for m in self._announced if abs(m.apex_s - best.peak_s) <= self.settings.together_s]
        number = earlier[-1].id if earlier else self._new_id()
        for movement in earlier:
            self._announced.remove(movement)
        movement = self._describe(number, judgement, time_s, provisional=False)
        if not movement.vetoes:
            self._confirmed.append(movement)
        if movement.vetoes in ((), ("faint",)):
            self._revocable.append((movement, judgement.seen))
        told_if_alone = movement.log_likelihood_ratio + _NO_SNIFF >= self.settings.threshold
        if movement.vetoes == ("sniff",) and told_if_alone:
            self._sniffs.append((movement, judgement.seen))
        return movement

    def _judge(self, group: list[Excursion]) -> Judgement:
        trail = self._fast.trail(strongest(group))
        settings = self.settings
        return judge(group, self._seen, trail, self._context, settings.threshold, settings.faint)

    def _describe(self, number: int, judgement: Judgement, time_s: float, provisional: bool) -> Movement:
        best = judgement.seen.best
        moved, z = judgement.seen.displacement, judgement.z
        # What stood out may be a mean over several regions: name the one of them that moved most.
        main = max(MEMBERS[best.watched], key=lambda r: (z[r], -r))
        name = REGIONS[main]
        side, asymmetry = _side(name, moved)
        pattern = units_of(judgement.seen)
        return Movement(
            id=number,
            region=base_name(name),
            side=side,
            onset_s=best.onset_s,
            apex_s=best.peak_s,
            offset_s=float("nan") if provisional else best.offset_s,
            found_s=time_s,
            dx_px=float(moved[main, 0]),
            dy_px=float(moved[main, 1]),
            z=best.z,
            noise_px=best.sigma_px,
            asymmetry=asymmetry,
            action_units=tuple(dict.fromkeys((*pattern, *_units(main, moved, z)))),
            pattern=pattern,
            log_likelihood_ratio=judgement.log_likelihood_ratio,
            quality=judgement.quality,
            vetoes=judgement.vetoes,
            provisional=provisional,
        )

    def _new_id(self) -> int:
        self._next_id += 1
        return self._next_id - 1


def _side(name: str, moved: NDArray[np.float64]) -> tuple[Side, float]:
    """Side of a movement and its asymmetry, from how far the region moved on either side."""
    if side_of(name) == "both":
        return "both", 0.0
    base = base_name(name)
    left, right = (float(np.hypot(*moved[REGIONS.index(f"{base}_{side}")])) for side in ("left", "right"))
    asymmetry = (left - right) / max(left + right, 1e-9)
    if abs(asymmetry) < 0.4:
        return "both", asymmetry
    return ("left" if asymmetry > 0 else "right"), asymmetry


def _units(main: int, moved: NDArray[np.float64], z: NDArray[np.float64]) -> tuple[int, ...]:
    """AUs of the main region first, then of others that moved at least half as surely; none twice."""
    order = [main, *(int(r) for r in np.argsort(-z[: len(REGIONS)], kind="stable") if r != main)]
    units: list[int] = []
    for r in order:
        if r != main and z[r] < max(0.5 * z[main], 4.0):
            break
        for unit in units_moving(REGIONS[r], moved[r, 0], moved[r, 1])[: 2 if r == main else 1]:
            if unit not in units:
                units.append(unit)
    return tuple(units)
