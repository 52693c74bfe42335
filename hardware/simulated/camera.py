"""A webcam that looks at the simulated person: a rendered face, stamped with the moment that it shows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acquisition.stream import Block, Channel, FrameFormat, Kind, SampleType, StreamSpec, empty_block
from hardware.jpeg import JPEG_QUALITY, encode_jpeg
from hardware.simulated.playback import SimulatedDevice
from hardware.simulated.rendering import FaceRenderer
from hardware.simulated.scenario import Scenario


@dataclass(eq=False, repr=False)
class SimulatedCamera(SimulatedDevice):
    """Webcam source that plays a scenario.

    A frame is due every 1 / `rate_hz` s from `start_s` on. Its stamp is that time, and it shows exactly that
    moment of the scenario. When rendering falls behind, frames are left out and the frame number jumps.
    OpenCV's own threads gain nothing here: a device process may call ``cv2.setNumThreads(1)``.

    Attributes (beside those of `SimulatedDevice`):
        rate_hz: Frames per second.
        width, height: Picture size in px; the inter-ocular distance is 100 px at a height of 480.
        encode: True gives JPEG bytes (codec MJPG), False BGR arrays (codec BGR8).
        jpeg_quality: 1-100.
        noise_grey_levels: Standard deviation of the sensor noise.
        illumination_drift: Relative amplitude of the slow change of the light.
    """

    rate_hz: float = 30.0
    width: int = 640
    height: int = 480
    encode: bool = True
    jpeg_quality: int = JPEG_QUALITY
    noise_grey_levels: float = 1.2
    illumination_drift: float = 0.02
    name: str = "zygoma simulated camera"

    def __post_init__(self) -> None:
        self.spec = StreamSpec(
            name=self.name,
            kind=Kind.CAMERA,
            channels=(Channel("jpeg" if self.encode else "bgr", kind="Video"), Channel("frame_number")),
            rate_hz=self.rate_hz,
            dtype=SampleType.STRING,
            source_id=f"zygoma-simulated-camera-{self.seed}-{self.scenario.seed}",
            frame=FrameFormat(self.width, self.height, "MJPG" if self.encode else "BGR8"),
            metadata={**self.facts("simulated camera"), "jpeg_quality": str(self.jpeg_quality)},
        )
        self._renderer: FaceRenderer | None = None
        self._next = 0
        self._drawn: tuple[int, Any] | None = None

    def open(self) -> None:
        """Build the portrait and the renderer, and draw once so that the first frame is not late."""
        self._renderer = FaceRenderer(
            self.width, self.height, seed=self.seed, noise_grey_levels=self.noise_grey_levels
        )
        self._picture(self.scenario, 0.0, 0)
        super().open()
        self._drawn = None
        self._next = self.playback.upcoming(self.rate_hz)

    def read(self, timeout_s: float) -> Block:
        """Wait for the next frame; an empty block when it is not due within `timeout_s`.

        A frame shows its due time exactly and carries it as its stamp. It is drawn while that time is still
        to come, so that it leaves on time, as a real camera's does; frames missed by a whole period are lost.

        Raises:
            EndOfStream: The scenario is over and does not loop.
        """
        playback = self.playback
        passed = math.floor((self.clock() - playback.start_s) * self.rate_hz + 1e-6)
        number = max(self._next, passed)
        due_s = playback.start_s + number / self.rate_hz
        if self._drawn is None or self._drawn[0] != number:
            scenario, t_s = playback.at(due_s)
            self._drawn = (number, self._picture(scenario, t_s, number))
        if not playback.wait_until(due_s, timeout_s):
            return empty_block(self.spec, self._next)
        picture = self._drawn[1]
        self._drawn, self._next = None, number + 1
        return Block(self.spec, np.array([due_s]), (picture,), number)

    def close(self) -> None:
        super().close()
        self._renderer = None
        self._drawn = None

    def _picture(self, scenario: Scenario, t_s: float, number: int) -> Any:
        frame = self.render(scenario, t_s, number)
        return encode_jpeg(frame, self.jpeg_quality) if self.encode else frame

    def render(self, scenario: Scenario, t_s: float, number: int = 0) -> NDArray[np.uint8]:
        """The picture, uint8 [height, width, 3] BGR, of one moment of a scenario; the camera must be open."""
        if self._renderer is None:
            raise RuntimeError("SimulatedCamera.render before open")
        drift, turn = self.illumination_drift, 2 * math.pi * t_s
        light = drift * (0.7 * math.sin(0.031 * turn + self.seed) + 0.3 * math.sin(0.17 * turn))
        tilt = 1.5 * drift * math.sin(0.023 * turn + 1.0 + self.seed)
        return self._renderer.render(
            scenario.activations(t_s),
            scenario.head_pose(t_s),
            gain=1.0 + light,
            gain_slope=tilt,
            noise_index=number,
        )
