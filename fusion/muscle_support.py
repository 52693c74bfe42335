"""What the electrodes say about a candidate's movements, muscle by muscle: for them, against them, and when.

Each action unit of a candidate asks the electrodes on its own muscle, or else those next to it, on the side
that moved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fusion.blinks import Blinks, is_blink
from fusion.candidates import FAINT
from fusion.emg_evidence import LEAD_S, LEAD_SD_S, EmgEvidence, EmgSupport, dating_sd_s
from fusion.witness import UnitWitness
from processing.findings import Movement


class MuscleSupport:
    """Asks the EMG about movements of the skin.

    Args:
        emg: Recent bursts and channel states.
        blinks: They explain what the corrugator does; None without a camera.
        witness: Tells the AU of a movement.
        second_share: What each further electrode, or AU, adds of its own evidence.
    """

    def __init__(
        self, emg: EmgEvidence, blinks: Blinks | None, witness: UnitWitness, second_share: float
    ) -> None:
        self._emg = emg
        self._blinks = blinks
        self._witness = witness
        self._second_share = second_share

    def of(self, members: Sequence[Movement], emg_until_s: float) -> list[EmgSupport]:
        """The evidence per AU: of the muscle's own electrodes, or else of those next to it.

        Of the further AUs that a movement may stand for, or that took part in it, a burst adds a share.
        """
        supports: dict[int, EmgSupport] = {}
        for member in members:
            unit = self._witness.best_unit(member)
            if unit is not None and unit not in supports:
                found = self._of_unit(member, unit, emg_until_s)
                if found is not None:
                    supports[unit] = found
        used = {each.channel.partition("_")[0] for each in supports.values()}
        main = members[0]
        for unit in main.action_units:
            found = None if unit in supports else self._of_unit(main, unit, emg_until_s)
            if found is not None and found.burst is not None and found.log_likelihood_ratio > 0.0:
                muscle = found.channel.partition("_")[0]
                if muscle not in used:
                    ratio = self._second_share * found.log_likelihood_ratio
                    supports[unit] = replace(found, log_likelihood_ratio=ratio)
                    used.add(muscle)
        return list(supports.values())

    def one_sided(self, main: Movement, support: EmgSupport, emg_until_s: float) -> bool:
        """Whether a burst led a movement on its side, and the same muscle of the other side was silent."""
        muscle, _, side = support.channel.partition("_")
        if support.burst is None or main.side == "both" or side not in ("L", "R"):
            return False
        other = self._emg.support(f"{muscle}_{'R' if side == 'L' else 'L'}", main, emg_until_s)
        return other.burst is None and other.log_likelihood_ratio < 0.0

    def dated(self, main: Movement, supports: Sequence[EmgSupport], emg_until_s: float) -> Movement:
        """A movement, its times drawn towards those its muscle tells as far as noise hides its flanks."""
        felt = max(supports, key=lambda each: each.log_likelihood_ratio)
        doubtful = felt.neighbour and felt.burst is None and main.vetoes != FAINT
        if felt.log_likelihood_ratio <= 0.0 or doubtful:
            return main
        start_s, end_s = main.onset_s - 2.0 * LEAD_S, main.offset_s - LEAD_S
        span = self._emg.span(felt.channel, start_s, end_s, emg_until_s)
        if span is None:
            return main
        share = 1.0 / (1.0 + (LEAD_SD_S / dating_sd_s(main)) ** 2)
        onset_s = main.onset_s + share * (span[0] - main.onset_s)
        offset_s = main.offset_s + share * (span[1] - main.offset_s)
        return replace(
            main, onset_s=onset_s, apex_s=min(max(main.apex_s, onset_s), offset_s), offset_s=offset_s
        )

    def _of_unit(self, movement: Movement, unit: int, emg_until_s: float) -> EmgSupport | None:
        """What electrodes on, or next to, the muscle of one AU say about a movement; None without any."""
        own = [
            self._unblinked(self._emg.support(channel, movement, emg_until_s), channel, movement)
            for channel in self._emg.channels_for(unit, movement.side)
        ]
        near = [
            self._unblinked(self._emg.neighbour_support(channel, movement, emg_until_s), channel, movement)
            for channel in self._emg.neighbours_of(unit, movement.side)
        ]
        if not own and not near:
            return None
        heard = sorted(
            own or near, key=lambda each: (each.burst is None, -each.log_likelihood_ratio, each.channel)
        )
        if heard[0].burst is None and heard[0].log_likelihood_ratio <= 0.0:
            # Both sides miss it: their silence counts once.
            ratio = sum(each.log_likelihood_ratio for each in heard) / len(heard)
        else:
            also = sum(max(0.0, each.log_likelihood_ratio) for each in heard[1:])
            ratio = heard[0].log_likelihood_ratio + self._second_share * also
        return replace(heard[0], log_likelihood_ratio=ratio)

    def _unblinked(self, support: EmgSupport, channel: str, movement: Movement) -> EmgSupport:
        """The same, but activity of the corrugator that coincides with a blink is the blink's."""
        if support.log_likelihood_ratio <= 0.0:
            return support
        blinked = self._blinks is not None and is_blink(self._blinks, channel, support.burst or movement)
        return EmgSupport(0.0) if blinked else support
