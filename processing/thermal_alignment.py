"""Affine registration of a face in band-passed temperature: enhanced correlation by Gauss-Newton steps.

Like ECC (Evangelidis & Psarakis 2008) it does not mind gain and offset, which are estimated along; unlike it,
skin that warmed, a lens or a strand of hair counts little (Cauchy weights), and gradients are those of the
template (inverse compositional, Baker & Matthews 2004), which makes a frame cost a fraction of a millisecond.

A head that turns by ten degrees moves the nose by two thermal pixels against the cheeks. So on top of the
affine map lies a parallax: all points move along one direction, each by as much as it stands out of the face.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from processing.thermal_kernels import bilinear, is_inside, solve_positive

_MOST_POINTS = 1500
_MIN_VISIBLE = 0.5
_ITERATIONS = 15
_STILL_PX = 0.03
_FIRST_STRIDE = 4
_NEAR_PX = 0.5
"""Every fourth point leads to within half a pixel; all of them from there."""

_MISFIT_CELSIUS = 0.12
_DAMPING = 1e-4
_MAX_PARALLAX = 0.5
_RELIEF = 0.3
"""Depth of a face's relief over its radius: turns a change of parallax into pixels."""


@dataclass(frozen=True, eq=False)
class Template:
    """The face of the keyframe as points.

    Attributes:
        points_px: float64 [n, 2] in pixels of the band-passed (reduced) keyframe.
        values: float64 [n], band-passed degC.
        gradients: float64 [n, 2], degC per px.
        depths_px: float64 [n], how far each point lies behind the face's middle plane, 0 where unknown.
        center_px: float64 [2], their middle.
        radius_px: Their root-mean-square distance from it.
        contrast_px: Standard deviation over root-mean-square gradient of the values: what share u of the
            variance is unexplained looks like a shift by sqrt(u) times this.
    """

    points_px: NDArray[np.float64]
    values: NDArray[np.float64]
    gradients: NDArray[np.float64]
    depths_px: NDArray[np.float64]
    center_px: NDArray[np.float64]
    radius_px: float
    contrast_px: float


@dataclass(frozen=True, eq=False)
class Placement:
    """Where the keyframe's points are in a frame: ``warp @ (x + depth(x) * parallax)``.

    Attributes:
        warp: float64 [2, 3], keyframe pixels to frame pixels.
        parallax: float64 [2], about the sines of the turn to the side and of the nod since the keyframe.
    """

    warp: NDArray[np.float64]
    parallax: NDArray[np.float64]

    def scaled(self, factor: float) -> Placement:
        """The same map in pixels of a picture `factor` times larger; pixel centres are at whole numbers."""
        centre = (factor - 1) / 2
        warp = self.warp.copy()
        warp[:, 2] = warp[:, 2] * factor + centre - warp[:, :2] @ (centre, centre)
        return Placement(warp, self.parallax)


STILL = Placement(np.eye(2, 3), np.zeros(2))


def make_template(
    band: NDArray[np.float32], mask: NDArray[np.uint8], depth_px: NDArray[np.float64]
) -> Template:
    """Points of `band` where `mask` is set, in a chequered pattern when there are many.

    `depth_px` [height, width] is that of the skin there.
    """
    down, across = (np.asarray(slope) for slope in np.gradient(band.astype(np.float64)))
    rows, columns = np.nonzero(mask)
    keep = np.ones(len(rows), dtype=np.bool_)
    if len(rows) > _MOST_POINTS:
        keep = (rows + columns) % max(2, round(len(rows) / _MOST_POINTS)) == 0
    rows, columns = rows[keep], columns[keep]
    points = np.column_stack([columns, rows]).astype(np.float64)
    center = points.mean(axis=0)
    radius = float(np.sqrt(((points - center) ** 2).sum(axis=1).mean()))
    gradients = np.column_stack([across[rows, columns], down[rows, columns]])
    values = band[rows, columns].astype(np.float64)
    steepness = float(np.sqrt(np.mean((gradients**2).sum(axis=1))))
    contrast = float(values.std()) / max(steepness, 1e-6)
    return Template(points, values, gradients, depth_px[rows, columns], center, radius, contrast)


def align(template: Template, band: NDArray[np.float32], start: Placement) -> tuple[Placement, float]:
    """Where the template is in a frame.

    Args:
        template: Of the keyframe.
        band: float32 [height, width], band-passed frame.
        start: First guess, to pixels of `band`; right to about three pixels.

    Returns:
        The refined placement and the correlation coefficient (0-1; 0 when it diverged or left the picture).
    """
    warp, parallax = start.warp.copy(), start.parallax.copy()
    correlation = _align(
        template.points_px,
        template.values,
        template.gradients,
        template.depths_px,
        template.center_px,
        template.radius_px,
        band,
        warp,
        parallax,
    )
    return (Placement(warp, parallax), correlation) if correlation > 0.0 else (start, 0.0)


@njit(cache=True, nogil=True)
def _align(
    points: NDArray[np.float64],
    values: NDArray[np.float64],
    gradients: NDArray[np.float64],
    depths: NDArray[np.float64],
    center: NDArray[np.float64],
    radius: float,
    band: NDArray[np.float32],
    warp: NDArray[np.float64],
    parallax: NDArray[np.float64],
) -> float:
    """Refine `warp` and `parallax` in place.

    Returns the correlation coefficient, 0 when there is nothing to register to.
    """
    height, width = band.shape
    n = len(points)
    normal = np.empty((10, 10))
    right = np.empty(10)
    row = np.empty(10)
    gain = 1.0
    offset = 0.0
    correlation = 0.0
    stride = _FIRST_STRIDE
    for _ in range(_ITERATIONS):
        normal[:] = 0.0
        right[:] = 0.0
        asked = 0
        seen = 0
        st = stt = si = sii = sti = 0.0
        for i in range(0, n, stride):
            asked += 1
            px = points[i, 0]
            py = points[i, 1]
            ax = px + depths[i] * parallax[0]
            ay = py + depths[i] * parallax[1]
            x = warp[0, 0] * ax + warp[0, 1] * ay + warp[0, 2]
            y = warp[1, 0] * ax + warp[1, 1] * ay + warp[1, 2]
            if not is_inside(height, width, x, y):
                continue
            here = bilinear(band, x, y)
            value = values[i]
            seen += 1
            st += value
            stt += value * value
            si += here
            sii += here * here
            sti += value * here
            misfit = here - gain * value - offset
            weight = 1.0 / (1.0 + (misfit / _MISFIT_CELSIUS) ** 2)
            gx = gradients[i, 0] * radius
            gy = gradients[i, 1] * radius
            qx = (px - center[0]) / radius
            qy = (py - center[1]) / radius
            row[0] = gx * qx
            row[1] = gx * qy
            row[2] = gx
            row[3] = gy * qx
            row[4] = gy * qy
            row[5] = gy
            row[6] = gradients[i, 0] * depths[i]
            row[7] = gradients[i, 1] * depths[i]
            row[8] = 1.0
            row[9] = value
            for j in range(10):
                weighted = weight * row[j]
                right[j] += weighted * misfit
                for k in range(j + 1):
                    normal[j, k] += weighted * row[k]
        if seen < _MIN_VISIBLE * asked or seen < 50:
            return 0.0
        spread = (stt - st * st / seen) * (sii - si * si / seen)
        if spread <= 0.0:
            return 0.0
        correlation = (sti - st * si / seen) / np.sqrt(spread)
        # A little damping: a smooth patch does not fix all of the map.
        for j in range(8):
            normal[j, j] += _DAMPING * seen
        if not solve_positive(normal, right):
            return 0.0
        offset += right[8]
        turn_x = parallax[0] - right[6] / gain
        turn_y = parallax[1] - right[7] / gain
        gain = min(max(gain + right[9], 0.3), 3.0)
        # The small map of the template, q -> q + D q + d, is undone before the warp.
        a = 1.0 + right[0] / gain
        b = right[1] / gain
        c = right[3] / gain
        d = 1.0 + right[4] / gain
        mx = radius * right[2] / gain - (a - 1.0) * center[0] - b * center[1]
        my = radius * right[5] / gain - c * center[0] - (d - 1.0) * center[1]
        determinant = a * d - b * c
        if not determinant > 0.1:
            return 0.0
        step = radius * _RELIEF * (abs(turn_x - parallax[0]) + abs(turn_y - parallax[1]))
        parallax[0] = min(max(a * turn_x + b * turn_y, -_MAX_PARALLAX), _MAX_PARALLAX)
        parallax[1] = min(max(c * turn_x + d * turn_y, -_MAX_PARALLAX), _MAX_PARALLAX)
        for k in range(2):
            w0 = (warp[k, 0] * d - warp[k, 1] * c) / determinant
            w1 = (warp[k, 1] * a - warp[k, 0] * b) / determinant
            w2 = warp[k, 2] - w0 * mx - w1 * my
            shift = (w0 - warp[k, 0]) * center[0] + (w1 - warp[k, 1]) * center[1] + w2 - warp[k, 2]
            stretch = radius * (abs(w0 - warp[k, 0]) + abs(w1 - warp[k, 1]))
            step = max(step, abs(shift) + stretch)
            warp[k, 0] = w0
            warp[k, 1] = w1
            warp[k, 2] = w2
        if not step < 50.0:
            return 0.0
        if stride > 1 and step < _NEAR_PX:
            stride = 1
        elif stride == 1 and step < _STILL_PX:
            break
    return max(correlation, 0.0)
