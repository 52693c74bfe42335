"""EMG files that hold a rectified envelope instead of the raw signal are recognised, or said to be such."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain

import numpy as np

from acquisition.stream import Block, Kind, StreamSpec
from processing.envelope import ENVELOPE, SIGNAL_KEY, is_envelope
from zygoma.analyze import Inputs

RAW_FROM_HZ = 200.0
"""At or above this a file may be raw EMG; below, only an envelope can be used."""


def with_envelope(inputs: Inputs, *, forced: bool) -> Inputs:
    """`inputs` with the EMG stream marked as an envelope, if it is one.

    Raw EMG swings about zero: values that never fall below it, at a rate too low for it, are an envelope.

    Args:
        inputs: From `zygoma.analyze`.
        forced: The user says that it is an envelope, whatever its rate.
    """
    spec = inputs.specs.get(Kind.EMG)
    if spec is None or is_envelope(spec):
        return inputs
    blocks = iter(inputs.blocks[Kind.EMG])
    head = next(blocks, None)
    rest = chain(() if head is None else (head,), blocks)
    if not forced and (head is None or spec.rate_hz >= RAW_FROM_HZ or np.nanmin(head.array) < 0.0):
        return replace(inputs, blocks={**inputs.blocks, Kind.EMG: rest})
    marked = replace(spec, metadata={**spec.metadata, SIGNAL_KEY: ENVELOPE})
    return replace(
        inputs,
        specs={**inputs.specs, Kind.EMG: marked},
        blocks={**inputs.blocks, Kind.EMG: _marked(rest, marked)},
    )


def _marked(blocks: Iterator[Block], spec: StreamSpec) -> Iterator[Block]:
    return (Block(spec, block.timestamps, block.data, block.first) for block in blocks)
