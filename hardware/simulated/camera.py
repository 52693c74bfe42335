"""A webcam that looks at the simulated person: a rendered face, stamped with the moment that it shows."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from acquisition.clock import Clock, Sleep
from acquisition.stream import (
    Block,
    Channel,
    FrameFormat,
    Kind,
    OpenedSource,
    SampleType,
    StreamSpec,
    empty_block,
)
from hardware.simulated.playback import Playback
from hardware.simulated.rendering import FaceRenderer
from hardware.simulated.scenario import Scenario


class SimulatedCamera(OpenedSource):
    """Webcam source that plays a scenario.

    A frame is due every 1 / `rate_hz` s from `start_s` on. Its stamp is that time, and it shows exactly that
    moment of the scenario. When rendering falls behind, frames are left out and the frame number jumps.
    OpenCV's own threads gain nothing here: a device process may call ``cv2.setNumThreads(1)``.

    Args:
        scenario: What happens.
        clock, sleep: Time (seconds, LSL clock) and waiting on it.
        rate_hz: Frames per second.
        width, height: Picture size in px; the inter-ocular distance is 100 px at a height of 480.
        seed: Of sensor noise and illumination.
        start_s: Clock time of the scenario's t = 0; None is the moment of `open`.
        loop: Go on with fresh scenarios of the same kind; else `read` raises `EndOfStream` at the end.
        encode: True gives JPEG bytes (codec MJPG), False BGR arrays (codec BGR8).
        jpeg_quality: 1-100.
        noise_grey_levels: Standard deviation of the sensor noise.
        illumination_drift: Relative amplitude of the slow change of the light.
    """

    def __init__(
        self,
        scenario: Scenario,
        *,
        clock: Clock,
        sleep: Sleep,
        rate_hz: float = 30.0,
        width: int = 640,
        height: int = 480,
        seed: int = 0,
        start_s: float | None = None,
        loop: bool = True,
        encode: bool = True,
        jpeg_quality: int = 95,
        noise_grey_levels: float = 1.2,
        illumination_drift: float = 0.02,
        name: str = "zygoma simulated camera",
    ) -> None:
        self._scenario, self._clock, self._sleep = scenario, clock, sleep
        self._rate_hz, self._width, self._height, self._seed = rate_hz, width, height, seed
        self._start_s, self._loop, self._encode, self._quality = start_s, loop, encode, jpeg_quality
        self._noise_grey_levels, self._drift = noise_grey_levels, illumination_drift
        codec = "MJPG" if encode else "BGR8"
        self._spec = StreamSpec(
            name=name,
            kind=Kind.CAMERA,
            channels=(
                Channel("jpeg" if encode else "bgr", "none", "Video"),
                Channel("frame_number", "none", "Misc"),
            ),
            rate_hz=rate_hz,
            dtype=SampleType.STRING,
            source_id=f"zygoma-simulated-camera-{seed}-{scenario.seed}",
            frame=FrameFormat(width, height, codec),
            metadata={
                "device": "simulated camera",
                "simulated": "true",
                "seed": str(seed),
                "scenario_seed": str(scenario.seed),
                "jpeg_quality": str(jpeg_quality),
            },
        )
        self._playback: Playback | None = None
        self._renderer: FaceRenderer | None = None
        self._next = 0
        self._drawn: tuple[int, Any] | None = None

    @property
    def spec(self) -> StreamSpec:
        return self._spec

    def open(self) -> None:
        """Build the portrait and the renderer, and draw once so that the first frame is not late."""
        self._renderer = FaceRenderer(
            self._width, self._height, seed=self._seed, noise_grey_levels=self._noise_grey_levels
        )
        self._picture(self._scenario, 0.0, 0)
        self._playback = Playback(self._scenario, self._clock, self._sleep, self._start_s, self._loop)
        self._drawn = None
        self._next = max(0, math.ceil((self._clock() - self._playback.start_s) * self._rate_hz - 1e-6))

    def read(self, timeout_s: float) -> Block:
        """Wait for the next frame; an empty block when it is not due within `timeout_s`.

        A frame shows its due time exactly and carries it as its stamp. It is drawn while that time is still
        to come, so that it leaves on time, as a real camera's does; frames missed by a whole period are lost.

        Raises:
            EndOfStream: The scenario is over and does not loop.
        """
        playback = self._playback
        if playback is None:
            raise RuntimeError("SimulatedCamera.read before open")
        passed = math.floor((self._clock() - playback.start_s) * self._rate_hz + 1e-6)
        number = max(self._next, passed)
        due_s = playback.start_s + number / self._rate_hz
        if self._drawn is None or self._drawn[0] != number:
            scenario, t_s = playback.at(due_s)
            self._drawn = (number, self._picture(scenario, t_s, number))
        if not playback.wait_until(due_s, timeout_s):
            return empty_block(self._spec, self._next)
        picture = self._drawn[1]
        self._drawn, self._next = None, number + 1
        return Block(self._spec, np.array([due_s]), (picture,), number)

    def close(self) -> None:
        self._playback = None
        self._renderer = None
        self._drawn = None

    def _picture(self, scenario: Scenario, t_s: float, number: int) -> Any:
        frame = self.render(scenario, t_s, number)
        if not self._encode:
            return frame
        _, jpeg = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, self._quality])
        return jpeg.tobytes()

    def render(self, scenario: Scenario, t_s: float, number: int = 0) -> NDArray[np.uint8]:
        """The picture, uint8 [height, width, 3] BGR, of one moment of a scenario; the camera must be open."""
        if self._renderer is None:
            raise RuntimeError("SimulatedCamera.render before open")
        light = self._drift * (
            0.7 * math.sin(2 * math.pi * 0.031 * t_s + self._seed) + 0.3 * math.sin(2 * math.pi * 0.17 * t_s)
        )
        tilt = 1.5 * self._drift * math.sin(2 * math.pi * 0.023 * t_s + 1.0 + self._seed)
        return self._renderer.render(
            scenario.activations(t_s),
            scenario.head_pose(t_s),
            gain=1.0 + light,
            gain_slope=tilt,
            noise_index=number,
        )
