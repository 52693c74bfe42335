"""The simulated participant: obeys on every device, from a process of its own that leaves nothing behind."""

from __future__ import annotations

import os

import numpy as np

from acquisition.clock import lsl_clock
from acquisition.inlet import LslInlet
from acquisition.network import resolve
from acquisition.stream import Kind
from zygoma.guided.simulated import ParticipantProcess


def test_a_participant_obeys_in_a_process_of_its_own_that_ends_with_it() -> None:
    with ParticipantProcess(seed=1) as participant:
        process = participant._process
        assert process.pid not in (None, os.getpid())
        specs = {spec.kind: spec for spec in resolve(minimum=3, timeout_s=60.0)}
        assert set(specs) >= {Kind.CAMERA, Kind.EMG, Kind.THERMAL}
        with LslInlet(specs[Kind.EMG]) as emg:
            while not len(first := emg.read(1.0)):
                assert process.is_alive()
            asked_s = max(lsl_clock(), float(first.timestamps[0])) + 1.5
            participant.perform("smile", asked_s, asked_s + 3.0)
            rest, smile = [], []
            while (block := emg.read(1.0)).timestamps.size == 0 or block.timestamps[-1] < asked_s + 2.5:
                assert process.is_alive()
                left = block.column("ZYG_L")
                (rest if block.timestamps.size and block.timestamps[-1] < asked_s else smile).append(left)
        quiet, active = (np.concatenate(parts) for parts in (rest, smile[-20:]))
        assert np.std(np.diff(active)) > 3 * np.std(np.diff(quiet))
    assert process.exitcode == 0
    # Asked after its end, it does nothing.
    participant.perform("frown", 0.0, 1.0)
