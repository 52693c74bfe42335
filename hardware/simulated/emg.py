"""An amplifier on the simulated person's face: zygomaticus major and corrugator supercilii, left and right.

Sample n depends only on the seeds and n, never on how the stream is read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from acquisition.stream import Block, Channel, EndOfStream, Kind, SampleType, StreamSpec, empty_block
from hardware.simulated.playback import Playback, SimulatedDevice
from hardware.simulated.scenario import EMG_CHANNELS, EMG_LEAD_S

_FILTER_S = 0.128
_DRIVE_RATE_HZ = 250.0
_LONGEST_READ_S = 1.0


@lru_cache(maxsize=4)
def _shaping_filter(rate_hz: float) -> NDArray[np.float64]:
    """Linear-phase FIR that gives white noise the spectrum of surface EMG, unit output variance.

    Power k f_h^4 f^2 / ((f^2 + f_l^2) (f^2 + f_h^2)^2) with f_l = 40 and f_h = 110 Hz (Stulen & De Luca 1981,
    facial muscles peak near 30-100 Hz), limited to 20-450 Hz as an amplifier does.
    """
    taps = 2 * int(_FILTER_S * rate_hz / 2) + 1
    points = 4096
    f = np.fft.rfftfreq(points, 1.0 / rate_hz)
    low, high = 40.0, 110.0
    power = high**4 * f**2 / ((f**2 + low**2) * (f**2 + high**2) ** 2)
    top = min(450.0, 0.45 * rate_hz)
    edge = 1.0 / (1.0 + (20.0 / np.maximum(f, 1e-3)) ** 8) / (1.0 + (f / top) ** 16)
    kernel = np.fft.irfft(np.sqrt(power * edge), points)
    kernel = np.roll(kernel, taps // 2)[:taps] * np.hanning(taps + 2)[1:-1]
    return np.asarray(kernel / math.sqrt(float(np.sum(kernel**2))))


@dataclass(eq=False, repr=False)
class SimulatedEmg(SimulatedDevice):
    """Surface EMG source that plays a scenario: ZYG_L, ZYG_R, COR_L, COR_R in microvolts.

    Attributes (beside those of `SimulatedDevice`; sample 0 is at `start_s`):
        rate_hz: Samples per second, 200-4000.
        chunk_s: A read returns whole chunks of this length.
        lead_s: The muscle is this much ahead of the skin that the camera sees.
        tonic_uv: Amplitude (RMS) of the resting muscle and the amplifier.
        mains_uv: Amplitude of the mains hum; its 3rd and 5th harmonics are weaker.
        mains_hz: 50 or 60.
        drift_uv: Amplitude of the slow wandering of the electrode potential.
    """

    rate_hz: float = 1000.0
    chunk_s: float = 0.01
    lead_s: float = EMG_LEAD_S
    tonic_uv: float = 1.7
    mains_uv: float = 0.5
    mains_hz: float = 50.0
    drift_uv: float = 25.0
    name: str = "zygoma simulated EMG"

    def __post_init__(self) -> None:
        if not 200.0 <= self.rate_hz <= 4000.0:
            raise ValueError(f"rate_hz of the simulated EMG is 200-4000, got {self.rate_hz}")
        self.spec = StreamSpec(
            name=self.name,
            kind=Kind.EMG,
            channels=tuple(Channel(label, "microvolts", "EMG") for label in EMG_CHANNELS),
            rate_hz=self.rate_hz,
            dtype=SampleType.FLOAT32,
            source_id=f"zygoma-simulated-emg-{self.seed}-{self.scenario.seed}",
            metadata={**self.facts("simulated EMG"), "notch_hz": f"{self.mains_hz:g}"},
        )
        self._chunk = max(1, round(self.chunk_s * self.rate_hz))
        self._block_length = round(self.rate_hz)
        rng = np.random.default_rng([self.seed, 3])
        # Electrodes differ: resting level, hum and drift are each channel's own.
        self._tonic = self.tonic_uv * rng.uniform(0.9, 1.15, 4)
        harmonics = np.array([1.0, 0.35, 0.2])[:, None] * rng.uniform(0.6, 1.4, (3, 4))
        self._hum = self.mains_uv * harmonics
        self._hum_phase = rng.uniform(0, 2 * np.pi, (3, 4))
        self._drift_hz = rng.uniform(0.01, 0.25, (4, 4))
        self._drift_phase = rng.uniform(0, 2 * np.pi, (4, 4))
        self._drift_weight = self.drift_uv * rng.uniform(0.3, 0.7, (4, 4)) * (0.02 / self._drift_hz) ** 0.5
        self._cached: dict[int, NDArray[np.float32]] = {}
        self._next = 0

    def open(self) -> None:
        """Start: sample 0 is at `start_s`; samples before now are not delivered."""
        super().open()
        self._next = self.playback.upcoming(self.rate_hz)
        self._block(self._next // self._block_length)

    def read(self, timeout_s: float) -> Block:
        """Wait for the next chunk and return all whole chunks that are due, at most one second's.

        Raises:
            EndOfStream: The scenario is over and does not loop.
        """
        playback = self.playback
        last = math.inf if self.loop else math.ceil(self.scenario.duration_s * self.rate_hz)
        if self._next >= last:
            raise EndOfStream("The simulated scenario is over; start it with loop=True to go on.")
        due_s = playback.start_s + (self._next + self._chunk) / self.rate_hz
        if not playback.wait_until(due_s, timeout_s):
            return empty_block(self.spec, self._next)
        elapsed = math.floor((self.clock() - playback.start_s) * self.rate_hz + 1e-3)
        most = max(1, int(_LONGEST_READ_S * self.rate_hz) // self._chunk)
        chunks = max(min((elapsed - self._next) // self._chunk, most), 1)
        first, count = self._next, int(min(chunks * self._chunk, last - self._next))
        self._next += count
        stamps = playback.start_s + np.arange(first, first + count) / self.rate_hz
        return Block(self.spec, stamps, self.samples(first, count), first)

    def close(self) -> None:
        super().close()
        self._cached.clear()

    def samples(self, first: int, count: int) -> NDArray[np.float32]:
        """Samples [count, 4] in microvolts from number `first` on; a pure function of the seeds."""
        out = np.empty((count, 4), np.float32)
        done = 0
        while done < count:
            index, offset = divmod(first + done, self._block_length)
            part = self._block(index)[offset : offset + count - done]
            out[done : done + len(part)] = part
            done += len(part)
        return out

    def _block(self, index: int) -> NDArray[np.float32]:
        """One second of samples, made as a whole so that chunking cannot matter."""
        if index not in self._cached:
            for old in [i for i in self._cached if i < index - 1]:
                del self._cached[old]
            self._cached[index] = self._make_block(index)
        return self._cached[index]

    def _make_block(self, index: int) -> NDArray[np.float32]:
        length = self._block_length
        kernel = _shaping_filter(self.rate_hz)
        # The filter reaches back into the block before.
        white = np.concatenate([self._white(index - 1)[-(len(kernel) - 1) :], self._white(index)])
        points = 1 << (len(white) + len(kernel) - 1).bit_length()
        spectrum = np.fft.rfft(white, points, axis=0) * np.fft.rfft(kernel, points)[:, None]
        muscle = np.fft.irfft(spectrum, points, axis=0)[len(kernel) - 1 : len(kernel) - 1 + length]
        t = (index * length + np.arange(length)) / self.rate_hz
        drive = self._drive(t)
        signal = muscle * np.sqrt(self._tonic**2 + drive**2)
        for k, order in enumerate((1, 3, 5)):
            if order * self.mains_hz < 0.5 * self.rate_hz:
                angle = 2 * np.pi * order * self.mains_hz * t
                signal += self._hum[k] * np.sin(angle[:, None] + self._hum_phase[k])
        for k in range(4):
            angle = 2 * np.pi * self._drift_hz[k] * t[:, None] + self._drift_phase[k]
            signal += self._drift_weight[k] * np.sin(angle)
        return np.asarray(signal, dtype=np.float32)

    def _drive(self, t: NDArray[np.float64]) -> NDArray[np.float64]:
        """Amplitude of activity [n, 4]; evaluated at 250 Hz and interpolated (its bandwidth is far lower)."""
        coarse = (
            np.arange(math.floor(t[0] * _DRIVE_RATE_HZ), math.ceil(t[-1] * _DRIVE_RATE_HZ) + 1)
            / _DRIVE_RATE_HZ
        )
        duration_s = self.scenario.duration_s
        numbers = np.floor((coarse + self.lead_s) / duration_s).astype(int)
        drive = np.zeros((len(coarse), 4))
        passes = self._playback or Playback(self.scenario, self.clock, self.sleep, 0.0, True)
        for number in np.unique(numbers):
            if number == 0 or self.loop:
                chosen = numbers == number
                script = passes.scenario(int(number))
                drive[chosen] = script.emg_drive(coarse[chosen] - number * duration_s, self.lead_s)
        return np.stack([np.interp(t, coarse, drive[:, k]) for k in range(4)], axis=1)

    def _white(self, index: int) -> NDArray[np.float64]:
        rng = np.random.default_rng([self.seed, 5, index + 1])
        return rng.standard_normal((self._block_length, 4))
