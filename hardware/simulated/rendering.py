"""Draws the simulated face at a moment: activations and head pose in, picture out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.simulated.face_fields import FACE_COLUMNS, FACE_ROWS, LID_LEFT_PX, face_fields, lid_tables
from hardware.simulated.portrait import (
    MOUTH_CORNER_LEFT_PX,
    MOUTH_CORNER_RIGHT_PX,
    REFERENCE_HEIGHT_PX,
    REFERENCE_WIDTH_PX,
    resting_portrait,
    seam_y,
)
from hardware.simulated.scenario import HeadPose, lid_closure
from hardware.simulated.warp_kernel import (
    NODE_COLUMNS,
    NODE_ROWS,
    NODE_STEP_PX,
    NOISE_STEPS,
    draw,
    invert,
    moved,
    pack,
    sum_fields,
)

NEUTRAL_POSE = HeadPose(0.0, 0.0, 1.0, 0.0, 0.0, 0.0)

_MOUTH_TOP_PX = 285.0
_NOISE_STARTS = 2**16


class FaceRenderer:
    """Draws the face at one picture size; owns its buffers, so one per thread.

    Args:
        width, height: Picture size in px; the reference picture (640 x 480, inter-ocular distance 100 px) is
            scaled to fit the height and centred.
        seed: Of the sensor noise.
        noise_grey_levels: Standard deviation of the sensor noise.
    """

    def __init__(
        self, width: int = 640, height: int = 480, *, seed: int = 0, noise_grey_levels: float = 1.2
    ) -> None:
        self.width, self.height = width, height
        self.zoom = height / REFERENCE_HEIGHT_PX
        portrait = resting_portrait()
        self._portrait = np.concatenate([pack(portrait.skin), pack(portrait.inside)])
        fields = face_fields()
        self._upper_table = fields.upper.reshape(-1, FACE_ROWS, FACE_COLUMNS, 2)
        self._lower_table = fields.lower.reshape(-1, FACE_ROWS, FACE_COLUMNS, 2)
        # Actions whose two sheets differ part the lips.
        self._parts = np.any(self._upper_table != self._lower_table, axis=(1, 2, 3))
        self._skin_upper = np.zeros((FACE_ROWS, FACE_COLUMNS, 2))
        self._skin_lower = np.zeros((FACE_ROWS, FACE_COLUMNS, 2))
        self._nodes_upper = np.zeros((NODE_ROWS, NODE_COLUMNS, 2), np.float32)
        self._nodes_lower = np.zeros((NODE_ROWS, NODE_COLUMNS, 2), np.float32)
        self._lines = np.zeros((2, NODE_COLUMNS, 2), np.float32)
        self._sampled = np.zeros(3 * width, np.float32)
        x = (np.arange(width) + 0.5 - width / 2) / self.zoom + REFERENCE_WIDTH_PX / 2 - 0.5
        y = (np.arange(height) + 0.5) / self.zoom - 0.5
        self._column, self._column_share = node_cells(x, NODE_COLUMNS)
        self._row, self._row_share = node_cells(y, NODE_ROWS)
        self._across = np.repeat((np.arange(width) + 0.5) / width - 0.5, 3)
        self._seam = _seam_table()
        self._lids = lid_tables()
        self._lid_left = np.array([LID_LEFT_PX["left"], LID_LEFT_PX["right"]])
        self._noise = _noise_bank(seed, width * height, noise_grey_levels)

    def render(
        self,
        activations: NDArray[np.float64],
        pose: HeadPose = NEUTRAL_POSE,
        *,
        gain: float = 1.0,
        gain_slope: float = 0.0,
        noise_index: int = 0,
    ) -> NDArray[np.uint8]:
        """Draw one picture, uint8 [height, width, 3] BGR, freshly allocated.

        Args:
            activations: [n_AU, 2 sides] in the order of `ACTION_UNITS`.
            pose: Head pose.
            gain: Brightness of the picture's middle; 1 is the portrait's own.
            gain_slope: Relative brightness difference between the right and the left edge.
            noise_index: Picks the stretch of the noise bank (the frame number, say).
        """
        first_lower = self._solve(activations, pose)
        start = 3 * int(np.random.default_rng(noise_index).integers(_NOISE_STARTS))
        brightness = (gain + gain_slope * self._across).astype(np.float32)
        out = np.empty((self.height, 3 * self.width), np.uint8)
        draw(
            self._portrait,
            self._nodes_upper,
            self._nodes_lower,
            first_lower,
            self._seam,
            self._lids,
            self._lid_left,
            np.array(lid_closure(activations)),
            self._column,
            self._column_share,
            self._row,
            self._row_share,
            brightness,
            self._noise[start : start + out.size],
            self._lines[0],
            self._lines[1],
            self._sampled,
            out,
        )
        return out.reshape(self.height, self.width, 3)

    def nodes(self, activations: NDArray[np.float64], pose: HeadPose = NEUTRAL_POSE) -> NDArray[np.float32]:
        """Resting point now seen at each grid node [NODE_ROWS, NODE_COLUMNS, 2], without parted lips.

        The array is overwritten by the next call.
        """
        self._sum(activations, lower=False)
        invert(self._skin_upper, _pose_parameters(pose), 0, self._nodes_upper)
        return self._nodes_upper

    def locate(
        self, points_px: NDArray[np.float64], activations: NDArray[np.float64], pose: HeadPose = NEUTRAL_POSE
    ) -> NDArray[np.float64]:
        """Where resting points [n, 2] (reference px) are in the picture [n, 2] (picture px): the truth.

        The eyelids' closing is not included; see `scenario.lid_closure`.
        """
        self._sum(activations, lower=True)
        parameters = _pose_parameters(pose)
        out = np.empty((len(points_px), 2))
        for index, (x, y) in enumerate(np.asarray(points_px, dtype=np.float64).tolist()):
            below = y > float(seam_y(np.asarray(x)))
            out[index] = moved(x, y, self._skin_lower if below else self._skin_upper, parameters)
        out[:, 0] = (out[:, 0] + 0.5 - REFERENCE_WIDTH_PX / 2) * self.zoom + self.width / 2 - 0.5
        out[:, 1] = (out[:, 1] + 0.5) * self.zoom - 0.5
        return out

    def _sum(self, activations: NDArray[np.float64], lower: bool) -> bool:
        """Sum the fields; the lower sheet too if it is asked for. Returns whether the lips part."""
        weights = np.ascontiguousarray(activations, dtype=np.float64).ravel()
        sum_fields(weights, self._upper_table, self._skin_upper)
        parted = bool(np.any(weights[self._parts] != 0.0))
        if lower and parted:
            sum_fields(weights, self._lower_table, self._skin_lower)
        elif lower:
            self._skin_lower[:] = self._skin_upper
        return parted

    def _solve(self, activations: NDArray[np.float64], pose: HeadPose) -> int:
        """Solve the inverse warp of both sheets; returns the first node row of the lower one."""
        parted = self._sum(activations, lower=True)
        parameters = _pose_parameters(pose)
        invert(self._skin_upper, parameters, 0, self._nodes_upper)
        if not parted:
            return NODE_ROWS
        first_lower = max(int((_MOUTH_TOP_PX + pose.dy_px - 30.0) // NODE_STEP_PX), 0)
        invert(self._skin_lower, parameters, first_lower, self._nodes_lower)
        return first_lower


def node_cells(position_px: NDArray[Any], nodes: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Node cell [n] that each reference position [n] lies in, and the place 0-1 within it."""
    place = position_px / NODE_STEP_PX
    cell = np.clip(np.floor(place), 0, nodes - 2).astype(np.int64)
    return cell, (place - cell).astype(np.float32)


def _pose_parameters(pose: HeadPose) -> NDArray[np.float64]:
    roll, yaw, pitch = np.radians([pose.roll_deg, pose.yaw_deg, pose.pitch_deg])
    turn = (pose.scale * np.cos(roll), pose.scale * np.sin(roll))
    return np.array([pose.dx_px, pose.dy_px, *turn, np.sin(yaw), np.sin(pitch)])


def _seam_table() -> NDArray[np.float32]:
    """Lip line per reference column; outside the mouth it goes on level, where both sheets are alike."""
    columns = np.arange(REFERENCE_WIDTH_PX, dtype=np.float64)
    return seam_y(np.clip(columns, MOUTH_CORNER_RIGHT_PX[0], MOUTH_CORNER_LEFT_PX[0])).astype(np.float32)


def _noise_bank(seed: int, pixels: int, grey_levels: float) -> NDArray[np.int8]:
    """Sensor noise int8 [3 * (pixels + 2**16)] in `NOISE_STEPS`, mostly common to the colours."""
    rng = np.random.default_rng([seed, 77])
    count = pixels + _NOISE_STARTS
    common = rng.standard_normal((count, 1), dtype=np.float32) * np.float32(0.85)
    noise = common + rng.standard_normal((count, 3), dtype=np.float32) * np.float32(0.5)
    return np.clip(np.round(noise * grey_levels * NOISE_STEPS), -127, 127).astype(np.int8).ravel()
