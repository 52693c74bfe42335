"""Why a micro-expression was flagged, in one sentence of the paper's terms."""

from __future__ import annotations

from collections.abc import Sequence

from fusion.atlas import muscles_of
from fusion.emg_evidence import EmgSupport
from fusion.macro_expressions import Activity, join_words, named
from processing.findings import Movement, Side

_MASK_NAMES = {12: "a smile", 6: "a smile", 4: "a frown", 1: "a brow raise", 2: "a brow raise"}


def explain_micro(
    main: Movement,
    units: Sequence[int],
    side: Side,
    asymmetry: float,
    support: EmgSupport | None,
    mask: Activity | None,
    category: str,
) -> str:
    """One sentence: muscle, branch, AU, duration, EMG, mask and category."""
    duration_ms = 1000.0 * (main.offset_s - main.onset_s)
    if units:
        unit = units[0]
        where = f"{side} " if side != "both" else ""
        both = " on both sides" if side == "both" else ""
        text = f"{where}{named(unit, both)}"
    else:
        text = f"{main.region.replace('_', ' ')} ({main.side})"
    text += f" contracted for {duration_ms:.0f} ms"
    others = [f"{muscles_of(unit)[0]} (AU{unit})" for unit in units[1:] if muscles_of(unit)]
    if others:
        text += f" with {join_words(others)}"
    if support is not None and support.burst is not None:
        order = "earlier" if support.lead_s >= 0.0 else "later"
        text += f", EMG burst {support.burst.peak_z:.1f} z {abs(1000.0 * support.lead_s):.0f} ms {order}"
    if abs(asymmetry) >= 0.5:
        text += ", one-sided (a hint of involuntary movement)"
    if mask is not None:
        inside = "inside" if mask.onset_s <= main.onset_s else "just before"
        text += f", {inside} {_MASK_NAMES.get(mask.unit, f'an expression of AU{mask.unit}')}"
    text += f": {category}"
    return text + (", masked" if mask is not None else "")
