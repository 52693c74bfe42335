"""Draws the simulated face: skin fields, jaw, lids and head pose turned into one exact inverse warp.

Every material point p of the resting face goes to q = p + E(p) + w(p) (H(p) - p), with E the sum of the
action units' fields, H the head's pose and w fading the pose out towards the background. The picture needs
the inverse; it is solved by fixed-point iteration on a 4 px grid, so that what is drawn is the forward
displacement that the ground truth tells, not an approximation of it.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hardware.simulated.face_fields import (
    FACE_COLUMNS,
    FACE_LEFT_PX,
    FACE_ROWS,
    FACE_STEP_PX,
    FACE_TOP_PX,
    LID_COLUMNS,
    LID_LEFT_PX,
    face_fields,
    lid_tables,
)
from hardware.simulated.portrait import (
    MARGIN_PX,
    MOUTH_CORNER_LEFT_PX,
    MOUTH_CORNER_RIGHT_PX,
    REFERENCE_HEIGHT_PX,
    REFERENCE_WIDTH_PX,
    resting_portrait,
    seam_y,
)
from hardware.simulated.scenario import HeadPose, lid_closure

NODE_STEP_PX = 4
NODE_COLUMNS = REFERENCE_WIDTH_PX // NODE_STEP_PX + 1
NODE_ROWS = REFERENCE_HEIGHT_PX // NODE_STEP_PX + 1
"""Grid of reference pixels on which the inverse warp is solved."""

PIVOT_PX = (320.0, 290.0)
"""The head scales and rolls about this point (between nose and mouth, towards the neck)."""

_ITERATIONS = 8
_CONVERGED_PX = 0.004
_MOUTH_TOP_PX = 285.0
_NOISE_BITS = 16.0

NEUTRAL_POSE = HeadPose(0.0, 0.0, 1.0, 0.0, 0.0, 0.0)


@njit(cache=True, nogil=True)
def _sum_fields(weights, table, out):  # type: ignore[no-untyped-def]
    """out [rows, columns, 2] = sum over n of weights[n] * table[n]."""
    out[:] = 0.0
    for n in range(weights.shape[0]):
        if weights[n] != 0.0:
            for i in range(out.shape[0]):
                for j in range(out.shape[1]):
                    out[i, j, 0] += weights[n] * table[n, i, j, 0]
                    out[i, j, 1] += weights[n] * table[n, i, j, 1]


@njit(cache=True, nogil=True, inline="always")
def _moved(x, y, skin, pose):  # type: ignore[no-untyped-def]
    """Where the resting point (x, y) is now: skin field, then the head's pose."""
    fx = (x - FACE_LEFT_PX) / FACE_STEP_PX
    fy = (y - FACE_TOP_PX) / FACE_STEP_PX
    ex = 0.0
    ey = 0.0
    if 0.0 <= fx < FACE_COLUMNS - 1 and 0.0 <= fy < FACE_ROWS - 1:
        j = int(fx)
        i = int(fy)
        a = fx - j
        b = fy - i
        w00 = (1.0 - a) * (1.0 - b)
        w01 = a * (1.0 - b)
        w10 = (1.0 - a) * b
        w11 = a * b
        ex = (
            w00 * skin[i, j, 0]
            + w01 * skin[i, j + 1, 0]
            + w10 * skin[i + 1, j, 0]
            + w11 * skin[i + 1, j + 1, 0]
        )
        ey = (
            w00 * skin[i, j, 1]
            + w01 * skin[i, j + 1, 1]
            + w10 * skin[i + 1, j, 1]
            + w11 * skin[i + 1, j + 1, 1]
        )
    # The pose takes the whole head along and leaves the background and the shoulders where they are.
    rx = (x - 320.0) / 185.0
    ry = (y - 195.0) / 235.0
    radius = rx * rx + ry * ry
    if radius >= 2.1:
        return x + ex, y + ey
    share = 1.0
    if radius > 1.0:
        u = (radius - 1.0) / 1.1
        share = 1.0 - u * u * (3.0 - 2.0 * u)
    # Depth of the face before the head's axis: turning moves the nose more than the temples.
    dx = (x - 320.0) / 135.0
    dy = (y - 235.0) / 175.0
    depth = max(0.0, 1.0 - dx * dx - dy * dy) * 70.0
    nx = (x - 319.0) / 26.0
    ny = (y - 255.0) / 32.0
    depth += 16.0 * max(0.0, 1.0 - 0.25 * (nx * nx + ny * ny)) ** 2
    # pose: dx, dy, scale * cos(roll), scale * sin(roll), sin(yaw), sin(pitch)
    cx = x + ex - PIVOT_PX[0] + depth * pose[4]
    cy = y + ey - PIVOT_PX[1] + depth * pose[5]
    hx = PIVOT_PX[0] + pose[0] + pose[2] * cx - pose[3] * cy
    hy = PIVOT_PX[1] + pose[1] + pose[3] * cx + pose[2] * cy
    return x + ex + share * (hx - x - ex), y + ey + share * (hy - y - ey)


@njit(cache=True, nogil=True)
def _invert(skin, pose, first_row, out):  # type: ignore[no-untyped-def]
    """Fill out [NODE_ROWS, NODE_COLUMNS, 2] with the resting point that is now at each grid node."""
    for i in range(first_row, out.shape[0]):
        qy = float(i * NODE_STEP_PX)
        # The neighbour's solution is the next node's start.
        ox = 0.0
        oy = 0.0
        for j in range(out.shape[1]):
            qx = float(j * NODE_STEP_PX)
            px = qx + ox
            py = qy + oy
            for _ in range(_ITERATIONS):
                mx, my = _moved(px, py, skin, pose)
                sx = qx - mx
                sy = qy - my
                px += sx
                py += sy
                if abs(sx) + abs(sy) < _CONVERGED_PX:
                    break
            ox = px - qx
            oy = py - qy
            out[i, j, 0] = px
            out[i, j, 1] = py


@njit(cache=True, nogil=True)
def _draw(skin, inside, upper, lower, parted, first_lower, seam, lids, lid_left, closure, column, column_share,
          row, row_share, gain, gain_slope, noise, noise_start, line_u, line_l, out):  # type: ignore[no-untyped-def]  # fmt: skip
    """Sample the portrait through the inverse nodes into out uint8 [height, width, 3]."""
    margin = np.float32(MARGIN_PX)
    one = np.float32(1.0)
    half = np.float32(0.5)
    noise_scale = np.float32(1.0 / _NOISE_BITS)
    limit_x = np.float32(skin.shape[1] - 1.01)
    limit_y = np.float32(skin.shape[0] - 1.01)
    width = out.shape[1]
    n = noise_start
    for v in range(out.shape[0]):
        i = row[v]
        b = row_share[v]
        two_sheets = parted and i >= first_lower
        for j in range(upper.shape[1]):
            line_u[j, 0] = upper[i, j, 0] * (one - b) + upper[i + 1, j, 0] * b
            line_u[j, 1] = upper[i, j, 1] * (one - b) + upper[i + 1, j, 1] * b
            if two_sheets:
                line_l[j, 0] = lower[i, j, 0] * (one - b) + lower[i + 1, j, 0] * b
                line_l[j, 1] = lower[i, j, 1] * (one - b) + lower[i + 1, j, 1] * b
        # Only rows whose middle lies at eye height can show an eye.
        middle_y = line_u[line_u.shape[0] // 2, 1]
        eyes = (closure[0] > 0.0 or closure[1] > 0.0) and 150.0 < middle_y < 250.0
        for u in range(width):
            j = column[u]
            a = column_share[u]
            x = line_u[j, 0] * (one - a) + line_u[j + 1, 0] * a
            y = line_u[j, 1] * (one - a) + line_u[j + 1, 1] * a
            cavity = False
            if two_sheets:
                lx = line_l[j, 0] * (one - a) + line_l[j + 1, 0] * a
                ly = line_l[j, 1] * (one - a) + line_l[j + 1, 1] * a
                c = min(max(int(lx), 0), seam.shape[0] - 1)
                if ly > seam[c]:
                    x = lx
                    y = ly
                else:
                    c = min(max(int(x), 0), seam.shape[0] - 1)
                    cavity = MOUTH_CORNER_RIGHT_PX[0] < x < MOUTH_CORNER_LEFT_PX[0] and y > seam[c]
            elif eyes:
                for side in range(2):
                    c = int(x - lid_left[side] + half)
                    if 0 <= c < LID_COLUMNS and closure[side] > 0.0:
                        crease = lids[side, c, 0]
                        top = lids[side, c, 1]
                        edge = top + closure[side] * (lids[side, c, 2] - top)
                        if crease < y < edge:
                            y = crease + (y - crease) * (top - crease) / (edge - crease)
            sx = min(max(x + margin, np.float32(0.0)), limit_x)
            sy = min(max(y + margin, np.float32(0.0)), limit_y)
            p = int(sx)
            q = int(sy)
            fx = sx - np.float32(p)
            fy = sy - np.float32(q)
            w00 = (one - fx) * (one - fy)
            w01 = fx * (one - fy)
            w10 = (one - fx) * fy
            w11 = fx * fy
            g = gain + gain_slope * np.float32(u)
            for k in range(3):
                if cavity:
                    value = (
                        w00 * inside[q, p, k] + w01 * inside[q, p + 1, k]
                        + w10 * inside[q + 1, p, k] + w11 * inside[q + 1, p + 1, k]
                    )  # fmt: skip
                else:
                    value = (
                        w00 * skin[q, p, k] + w01 * skin[q, p + 1, k]
                        + w10 * skin[q + 1, p, k] + w11 * skin[q + 1, p + 1, k]
                    )  # fmt: skip
                value = value * g + np.float32(noise[n, k]) * noise_scale + half
                out[v, u, k] = np.uint8(min(max(value, np.float32(0.0)), np.float32(255.0)))
            n += 1


class FaceRenderer:
    """Draws the face at one picture size; owns its buffers, so one per thread.

    Args:
        width, height: Picture size in px; the reference picture (640 x 480, inter-ocular distance 100 px) is
            scaled to fit the height and centred.
        seed: Of the sensor noise.
        noise_grey_levels: Standard deviation of the sensor noise.
    """

    def __init__(self, width: int = 640, height: int = 480, *, seed: int = 0, noise_grey_levels: float = 1.2):
        self.width, self.height = width, height
        self.zoom = height / REFERENCE_HEIGHT_PX
        self._portrait = resting_portrait()
        fields = face_fields()
        self._upper_table = fields.upper.reshape(-1, FACE_ROWS, FACE_COLUMNS, 2)
        self._lower_table = fields.lower.reshape(-1, FACE_ROWS, FACE_COLUMNS, 2)
        # Actions whose two sheets differ part the lips.
        self._parts = np.any(self._upper_table != self._lower_table, axis=(1, 2, 3))
        self._skin_upper = np.zeros((FACE_ROWS, FACE_COLUMNS, 2))
        self._skin_lower = np.zeros((FACE_ROWS, FACE_COLUMNS, 2))
        self._nodes_upper = np.zeros((NODE_ROWS, NODE_COLUMNS, 2), np.float32)
        self._nodes_lower = np.zeros((NODE_ROWS, NODE_COLUMNS, 2), np.float32)
        self._line = np.zeros((2, NODE_COLUMNS, 2), np.float32)
        x = (np.arange(width) + 0.5 - width / 2) / self.zoom + REFERENCE_WIDTH_PX / 2 - 0.5
        y = (np.arange(height) + 0.5) / self.zoom - 0.5
        self._column, self._column_share = node_cells(x, NODE_COLUMNS)
        self._row, self._row_share = node_cells(y, NODE_ROWS)
        self._seam = _seam_table()
        self._lids = lid_tables()
        self._lid_left = np.array([LID_LEFT_PX["left"], LID_LEFT_PX["right"]], np.float32)
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
        parted = self._solve(activations, pose)
        closure = np.array(lid_closure(activations), np.float32)
        start = int(np.random.default_rng(noise_index).integers(len(self._noise) - self.width * self.height))
        out = np.empty((self.height, self.width, 3), np.uint8)
        _draw(
            self._portrait.skin, self._portrait.inside, self._nodes_upper, self._nodes_lower, parted,
            self._first_lower(pose), self._seam, self._lids, self._lid_left, closure,
            self._column, self._column_share, self._row, self._row_share,
            np.float32(gain - 0.5 * gain_slope), np.float32(gain_slope / self.width), self._noise, start,
            self._line[0], self._line[1], out,
        )  # fmt: skip
        return out

    def nodes(self, activations: NDArray[np.float64], pose: HeadPose = NEUTRAL_POSE) -> NDArray[np.float32]:
        """Resting point [NODE_ROWS, NODE_COLUMNS, 2] now seen at each grid node; overwritten by the next call.

        The lips' parting is left out.
        """
        self._solve(activations, pose)
        return self._nodes_upper

    def locate(
        self, points_px: NDArray[np.float64], activations: NDArray[np.float64], pose: HeadPose = NEUTRAL_POSE
    ) -> NDArray[np.float64]:
        """Where resting points [n, 2] (reference px) are in the picture, [n, 2] picture px: the ground truth."""
        self._sum(activations)
        parameters = _pose_parameters(pose)
        out = np.empty((len(points_px), 2))
        for index, (x, y) in enumerate(np.asarray(points_px, dtype=np.float64)):
            below = y > float(seam_y(np.asarray(x)))
            out[index] = _locate(x, y, self._skin_lower if below else self._skin_upper, parameters)
        out[:, 0] = (out[:, 0] + 0.5 - REFERENCE_WIDTH_PX / 2) * self.zoom + self.width / 2 - 0.5
        out[:, 1] = (out[:, 1] + 0.5) * self.zoom - 0.5
        return out

    def _sum(self, activations: NDArray[np.float64]) -> bool:
        weights = np.ascontiguousarray(activations, dtype=np.float64).ravel()
        _sum_fields(weights, self._upper_table, self._skin_upper)
        parted = bool(np.any(weights[self._parts] != 0.0))
        if parted:
            _sum_fields(weights, self._lower_table, self._skin_lower)
        else:
            self._skin_lower[:] = self._skin_upper
        return parted

    def _solve(self, activations: NDArray[np.float64], pose: HeadPose) -> bool:
        parted = self._sum(activations)
        parameters = _pose_parameters(pose)
        _invert(self._skin_upper, parameters, 0, self._nodes_upper)
        if parted:
            _invert(self._skin_lower, parameters, self._first_lower(pose), self._nodes_lower)
        return parted

    def _first_lower(self, pose: HeadPose) -> int:
        return max(int((_MOUTH_TOP_PX + pose.dy_px - 30.0) // NODE_STEP_PX), 0)


@njit(cache=True, nogil=True)
def _locate(x, y, skin, pose):  # type: ignore[no-untyped-def]
    return _moved(x, y, skin, pose)


def _pose_parameters(pose: HeadPose) -> NDArray[np.float64]:
    roll, yaw, pitch = np.radians([pose.roll_deg, pose.yaw_deg, pose.pitch_deg])
    turn = (pose.scale * np.cos(roll), pose.scale * np.sin(roll))
    return np.array([pose.dx_px, pose.dy_px, *turn, np.sin(yaw), np.sin(pitch)])


def node_cells(position_px: NDArray[np.float64], nodes: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    place = position_px / NODE_STEP_PX
    cell = np.clip(np.floor(place), 0, nodes - 2).astype(np.int64)
    return cell, (place - cell).astype(np.float32)


def _seam_table() -> NDArray[np.float32]:
    """Lip line per reference column; outside the mouth it goes on level, where both sheets are alike."""
    x = np.clip(
        np.arange(REFERENCE_WIDTH_PX, dtype=np.float64), MOUTH_CORNER_RIGHT_PX[0], MOUTH_CORNER_LEFT_PX[0]
    )
    return seam_y(x).astype(np.float32)


def _noise_bank(seed: int, pixels: int, grey_levels: float) -> NDArray[np.int8]:
    """Sensor noise int8 [pixels + 2**16, 3] in sixteenths of a grey level, mostly common to the colours."""
    rng = np.random.default_rng([seed, 77])
    count = pixels + 2**16
    noise = rng.standard_normal((count, 1), dtype=np.float32) * np.float32(0.85)
    noise = noise + rng.standard_normal((count, 3), dtype=np.float32) * np.float32(0.5)
    return np.clip(np.round(noise * grey_levels * _NOISE_BITS), -127, 127).astype(np.int8)
