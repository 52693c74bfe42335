"""Numba kernels that draw the simulated face: sum of fields, exact inverse warp, sampling of the portrait.

Every material point p of the resting face goes to q = p + E(p) + w (H(p + E(p)) - p - E(p)), with E the sum
of the action units' fields, H the head's pose and w fading the pose out towards the background. A picture
needs the inverse; it is solved by fixed-point iteration on a 4 px grid, so that what is drawn is the
forward displacement that the ground truth tells, not an approximation of it.
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
)
from hardware.simulated.portrait import (
    MARGIN_PX,
    MOUTH_CORNER_LEFT_PX,
    MOUTH_CORNER_RIGHT_PX,
    REFERENCE_HEIGHT_PX,
    REFERENCE_WIDTH_PX,
)

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

NODE_STEP_PX = 4
NODE_COLUMNS = REFERENCE_WIDTH_PX // NODE_STEP_PX + 1
NODE_ROWS = REFERENCE_HEIGHT_PX // NODE_STEP_PX + 1
"""Grid of reference pixels on which the inverse warp is solved."""

PIVOT_X_PX, PIVOT_Y_PX = 320.0, 290.0
"""The head scales and rolls about this point, at the height of the upper lip."""

PORTRAIT_COLUMNS = REFERENCE_WIDTH_PX + 2 * MARGIN_PX

LASH_PX = 4.5
"""Height of the lashes above the margin of the upper lid."""

EYE_ROWS_PX = (160.0, 240.0)
"""Resting rows between which the eyes lie."""

LIP_ROWS_PX = (304.0, 313.0)
"""Resting rows between which the lip line lies."""

NOISE_STEPS = 16.0
"""Noise is stored in sixteenths of a grey level."""

_ITERATIONS = 8
_CONVERGED_PX = 0.004
_LOWEST = -MARGIN_PX + 1.0
_RIGHTMOST = REFERENCE_WIDTH_PX + MARGIN_PX - 3.0
_BOTTOM = REFERENCE_HEIGHT_PX + MARGIN_PX - 3.0


@njit(cache=True, nogil=True)
def sum_fields(weights: F64, table: F32, out: F64) -> None:
    """Fill out [rows, columns, 2] with the sum over n of weights[n] * table[n]."""
    out[:] = 0.0
    for n in range(weights.shape[0]):
        weight = weights[n]
        if weight != 0.0:
            for i in range(out.shape[0]):
                for j in range(out.shape[1]):
                    out[i, j, 0] += weight * table[n, i, j, 0]
                    out[i, j, 1] += weight * table[n, i, j, 1]


@njit(cache=True, nogil=True)
def moved(x: float, y: float, skin: F64, pose: F64) -> tuple[float, float]:
    """Where the resting point (x, y) is now.

    Args:
        x, y: Reference px.
        skin: Summed field [FACE_ROWS, FACE_COLUMNS, 2].
        pose: dx, dy, scale * cos(roll), scale * sin(roll), sin(yaw), sin(pitch).
    """
    fx = (x - FACE_LEFT_PX) * (1.0 / FACE_STEP_PX)
    fy = (y - FACE_TOP_PX) * (1.0 / FACE_STEP_PX)
    mx = x
    my = y
    if 0.0 <= fx < FACE_COLUMNS - 1 and 0.0 <= fy < FACE_ROWS - 1:
        j = int(fx)
        i = int(fy)
        a = fx - j
        b = fy - i
        w00 = (1.0 - a) * (1.0 - b)
        w01 = a * (1.0 - b)
        w10 = (1.0 - a) * b
        w11 = a * b
        mx += w00 * skin[i, j, 0] + w01 * skin[i, j + 1, 0]
        mx += w10 * skin[i + 1, j, 0] + w11 * skin[i + 1, j + 1, 0]
        my += w00 * skin[i, j, 1] + w01 * skin[i, j + 1, 1]
        my += w10 * skin[i + 1, j, 1] + w11 * skin[i + 1, j + 1, 1]
    # The pose takes the whole head along and leaves the background and the shoulders where they are.
    rx = (x - 320.0) * (1.0 / 185.0)
    ry = (y - 195.0) * (1.0 / 235.0)
    radius = rx * rx + ry * ry
    if radius >= 2.1:
        return mx, my
    share = 1.0
    if radius > 1.0:
        u = (radius - 1.0) / 1.1
        share = 1.0 - u * u * (3.0 - 2.0 * u)
    # Depth of the face before the head's axis: turning moves the nose more than the temples.
    dx = (x - 320.0) * (1.0 / 135.0)
    dy = (y - 235.0) * (1.0 / 175.0)
    depth = max(0.0, 1.0 - dx * dx - dy * dy) * 70.0
    nx = (x - 319.0) * (1.0 / 26.0)
    ny = (y - 255.0) * (1.0 / 32.0)
    nose = max(0.0, 1.0 - 0.25 * (nx * nx + ny * ny))
    depth += 16.0 * nose * nose
    cx = mx - PIVOT_X_PX + depth * pose[4]
    cy = my - PIVOT_Y_PX + depth * pose[5]
    hx = PIVOT_X_PX + pose[0] + pose[2] * cx - pose[3] * cy
    hy = PIVOT_Y_PX + pose[1] + pose[3] * cx + pose[2] * cy
    return mx + share * (hx - mx), my + share * (hy - my)


@njit(cache=True, nogil=True)
def invert(skin: F64, pose: F64, first_row: int, out: F32) -> None:
    """Fill out [NODE_ROWS, NODE_COLUMNS, 2], from `first_row` on, with the resting point now at each node.

    Points beyond the portrait are moved to its rim.
    """
    for i in range(first_row, out.shape[0]):
        qy = float(i * NODE_STEP_PX)
        # The neighbours' solutions, carried on in a straight line, are the next node's start.
        ox = 0.0
        oy = 0.0
        slope_x = 0.0
        slope_y = 0.0
        for j in range(out.shape[1]):
            qx = float(j * NODE_STEP_PX)
            px = qx + ox + slope_x
            py = qy + oy + slope_y
            for _ in range(_ITERATIONS):
                mx, my = moved(px, py, skin, pose)
                px += qx - mx
                py += qy - my
                if abs(qx - mx) + abs(qy - my) < _CONVERGED_PX:
                    break
            slope_x = px - qx - ox
            slope_y = py - qy - oy
            ox = px - qx
            oy = py - qy
            out[i, j, 0] = min(max(px, _LOWEST), _RIGHTMOST)
            out[i, j, 1] = min(max(py, _LOWEST), _BOTTOM)


@njit(cache=True, nogil=True)
def _lidded(x: float, y: float, lids: F32, lid_left: F64, closure: F64) -> float:
    """Row of the portrait that is seen at the resting point (x, y) when the lids are partly closed."""
    for side in range(2):
        c = int(x - lid_left[side] + 0.5)
        if 0 <= c < LID_COLUMNS and closure[side] > 0.0:
            crease = lids[side, c, 0]
            top = lids[side, c, 1]
            drop = closure[side] * (lids[side, c, 2] - top)
            lash = min(LASH_PX, 0.5 * (top - crease))
            if crease < y < top + drop:
                # The lashes travel with the margin; the skin above them unfolds, its bright upper part most.
                if y > top + drop - lash:
                    return float(y - drop)
                u = (y - crease) / (top + drop - lash - crease)
                fold = 0.8 * closure[side] * min(1.0, 0.1 * (lids[side, c, 2] - top))
                return float(crease + (top - lash - crease) * u * (1.0 - fold + fold * u * u * u))
    return y


@njit(cache=True, nogil=True)
def _between_rows(nodes: F32, i: int, share: np.float32, line: F32) -> None:
    """Fill line [NODE_COLUMNS, 2] with the nodes' values between node rows i and i + 1."""
    rest = np.float32(1.0) - share
    for j in range(nodes.shape[1]):
        line[j, 0] = nodes[i, j, 0] * rest + nodes[i + 1, j, 0] * share
        line[j, 1] = nodes[i, j, 1] * rest + nodes[i + 1, j, 1] * share


@njit(cache=True, nogil=True)
def draw(
    portrait: NDArray[np.uint64],
    upper: F32,
    lower: F32,
    first_lower: int,
    seam: F32,
    lids: F32,
    lid_left: F64,
    closure: F64,
    column: NDArray[np.int64],
    column_share: F32,
    row: NDArray[np.int64],
    row_share: F32,
    gain: F32,
    noise: NDArray[np.int8],
    line_upper: F32,
    line_lower: F32,
    sampled: F32,
    out: NDArray[np.uint8],
) -> None:
    """Sample the portrait through the inverse nodes.

    Args:
        portrait: [2 * pixels]: the skin, then the inside of the mouth, as packed by `pack`.
        upper, lower: Inverse nodes of the two sheets.
        first_lower: First node row of the lower sheet; NODE_ROWS when the lips do not part.
        seam: Lip line per reference column.
        lids, lid_left, closure: `lid_tables`, first column of each, closure 0-1 of left and right.
        column, column_share, row, row_share: Node cell of every picture column and row, and place in it.
        gain: Brightness [3 * width].
        noise: [height * width * 3], sixteenths of a grey level.
        line_upper, line_lower, sampled: Scratch, [NODE_COLUMNS, 2] twice and [3 * width].
        out: [height, 3 * width].
    """
    one = np.float32(1.0)
    lane = np.uint64(0xFFF) | (np.uint64(0xFFF) << np.uint64(21)) | (np.uint64(0xFFF) << np.uint64(42))
    low12 = np.uint64(0xFFF)
    full = np.uint64(256)
    fraction = np.uint32(255)
    stride = np.uint64(PORTRAIT_COLUMNS)
    step = np.uint64(1)
    cavity_offset = np.uint64(portrait.shape[0] // 2)
    any_closed = closure[0] > 0.0 or closure[1] > 0.0
    width = column.shape[0]
    size = 3 * width
    for v in range(out.shape[0]):
        i = row[v]
        b = row_share[v]
        _between_rows(upper, i, b, line_upper)
        two_sheets = False
        if i >= first_lower:
            # Only rows that cross the lip line have to choose between the sheets point by point.
            _between_rows(lower, i, b, line_lower)
            two_sheets = line_lower[:, 1].max() > LIP_ROWS_PX[0]
            if line_lower[:, 1].min() > LIP_ROWS_PX[1]:
                two_sheets = False
                line_upper[:] = line_lower
        middle_y = line_upper[upper.shape[1] // 2, 1]
        eyes = any_closed and EYE_ROWS_PX[0] < middle_y < EYE_ROWS_PX[1]
        for u in range(width):
            j = column[u]
            a = column_share[u]
            x = line_upper[j, 0] * (one - a) + line_upper[j + 1, 0] * a
            y = line_upper[j, 1] * (one - a) + line_upper[j + 1, 1] * a
            p = np.uint64(0)
            if two_sheets:
                lx = line_lower[j, 0] * (one - a) + line_lower[j + 1, 0] * a
                ly = line_lower[j, 1] * (one - a) + line_lower[j + 1, 1] * a
                if ly > seam[min(max(int(lx), 0), seam.shape[0] - 1)]:
                    x = lx
                    y = ly
                elif MOUTH_CORNER_RIGHT_PX[0] < x < MOUTH_CORNER_LEFT_PX[0] and y > seam[int(x)]:
                    p = cavity_offset
            elif eyes:
                y = np.float32(_lidded(x, y, lids, lid_left, closure))
            # Bilinear sampling of three colours at once: each has 21 bits of a 64-bit word.
            sx = np.uint32((x + np.float32(MARGIN_PX)) * np.float32(256.0))
            sy = np.uint32((y + np.float32(MARGIN_PX)) * np.float32(256.0))
            fx = np.uint64(sx & fraction)
            fy = np.uint64(sy & fraction)
            p += np.uint64(sy >> np.uint32(8)) * stride + np.uint64(sx >> np.uint32(8))
            q = p + stride
            top = ((portrait[p] * (full - fx) + portrait[p + step] * fx) >> np.uint64(4)) & lane
            bottom = ((portrait[q] * (full - fx) + portrait[q + step] * fx) >> np.uint64(4)) & lane
            word = top * (full - fy) + bottom * fy
            sampled[3 * u] = np.float32((word >> np.uint64(8)) & low12)
            sampled[3 * u + 1] = np.float32((word >> np.uint64(29)) & low12)
            sampled[3 * u + 2] = np.float32((word >> np.uint64(50)) & low12)
        line = out[v]
        grain = noise[v * size : (v + 1) * size]
        for k in range(size):
            value = (sampled[k] * gain[k] + np.float32(grain[k])) * np.float32(
                1.0 / NOISE_STEPS
            ) + np.float32(0.5)
            line[k] = np.uint8(np.int32(min(max(value, np.float32(0.0)), np.float32(255.0))))


def pack(picture: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Pixels [h, w, 3] as words [h * w] with 21 bits per colour."""
    wide = picture.astype(np.uint64)
    words = wide[..., 0] | (wide[..., 1] << np.uint64(21)) | (wide[..., 2] << np.uint64(42))
    return np.ascontiguousarray(words).ravel()
