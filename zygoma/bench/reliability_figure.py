"""The reliability diagram of confidences: what was claimed against what was true, as one SVG."""

from __future__ import annotations

from collections.abc import Sequence

_SIZE_PX, _LEFT_PX, _TOP_PX = 420, 64, 56
_INK, _SOFT, _PAPER, _BLUE = "#23211e", "#7a746a", "#fdfcf9", "#0072b2"


def reliability_figure(bins: Sequence[tuple[float, float, int]], ece: float) -> str:
    """Draw the bins.

    Args:
        bins: (mean confidence, share true, candidates) of each bin.
        ece: Expected calibration error, for the title.
    """

    def x(value: float) -> float:
        return _LEFT_PX + value * _SIZE_PX

    def y(value: float) -> float:
        return _TOP_PX + (1.0 - value) * _SIZE_PX

    width, height = _LEFT_PX + _SIZE_PX + 36, _TOP_PX + _SIZE_PX + 64
    total = max(sum(count for *_, count in bins), 1)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img" aria-label="Reliability of confidences" '
        'font-family="Helvetica, Arial, sans-serif">',
        f'<rect width="{width}" height="{height}" fill="{_PAPER}"/>',
        f'<text x="{_LEFT_PX}" y="32" font-size="16" font-weight="600" fill="{_INK}">Confidence of '
        f"micro-expression candidates, ECE {ece:.3f}</text>",
        # Within .05 of the diagonal a claim counts as calibrated.
        f'<path d="M{x(0):.1f},{y(0.05):.1f} L{x(0.95):.1f},{y(1):.1f} L{x(1):.1f},{y(1):.1f} '
        f'L{x(1):.1f},{y(0.95):.1f} L{x(0.05):.1f},{y(0):.1f} L{x(0):.1f},{y(0):.1f} Z" '
        f'fill="{_BLUE}" fill-opacity="0.10"/>',
        f'<path d="M{x(0):.1f},{y(0):.1f} L{x(1):.1f},{y(1):.1f}" stroke="{_SOFT}" stroke-dasharray="3 4"/>',
        f'<rect x="{x(0):.1f}" y="{y(1):.1f}" width="{_SIZE_PX}" height="{_SIZE_PX}" fill="none" '
        f'stroke="{_SOFT}"/>',
    ]
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts += [
            f'<text x="{x(tick):.1f}" y="{y(0) + 20:.1f}" font-size="12" fill="{_SOFT}" '
            f'text-anchor="middle">{tick:g}</text>',
            f'<text x="{x(0) - 10:.1f}" y="{y(tick) + 4:.1f}" font-size="12" fill="{_SOFT}" '
            f'text-anchor="end">{tick:g}</text>',
        ]
    for confidence, share, count in bins:
        radius = 4.0 + 14.0 * (count / total) ** 0.5
        parts += [
            f'<circle cx="{x(confidence):.1f}" cy="{y(share):.1f}" r="{radius:.1f}" fill="{_BLUE}" '
            f'fill-opacity="0.65"><title>{count} candidates</title></circle>',
            f'<text x="{x(confidence):.1f}" y="{y(share) + radius + 14:.1f}" font-size="12" '
            f'fill="{_INK}" text-anchor="middle">{count}</text>',
        ]
    parts += [
        f'<text x="{x(0.5):.1f}" y="{y(0) + 46:.1f}" font-size="13" fill="{_INK}" '
        'text-anchor="middle">confidence claimed</text>',
        f'<text transform="translate(20 {y(0.5):.1f}) rotate(-90)" font-size="13" fill="{_INK}" '
        'text-anchor="middle">share of candidates that are true</text>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"
