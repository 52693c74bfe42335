"""The event schema: exactly its keys, free of NaN, and the same after a round trip."""

from __future__ import annotations

import csv
import io
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion.events import (
    EVENT_KEYS,
    AllowedEmotion,
    FaceEvent,
    events_stream_spec,
    from_tsv_row,
    to_tsv,
    tsv_sidecar,
)

# fmt: off
SCHEMA = [
    "onset", "duration", "trial_type", "apex", "action_units",
    "side", "asymmetry", "category", "emotions", "muscles",
    "nerve_branches", "confidence", "evidence_camera", "evidence_emg", "evidence_thermal",
    "masked_by", "vetoes", "criteria", "id", "explanation",
]
# fmt: on

seconds = st.floats(0.0, 1e5)
words = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters=";"), min_size=1).map(
    str.strip
)
lists = st.lists(words.filter(lambda word: word not in ("", "n/a")), max_size=3).map(tuple)
events = st.builds(
    FaceEvent,
    onset=seconds,
    duration=st.floats(0.0, 10.0),
    trial_type=st.sampled_from(["micro_expression", "macro_expression", "blink"]),
    apex=seconds,
    action_units=st.lists(st.integers(1, 64), unique=True, max_size=4).map(
        lambda units: tuple(sorted(units))
    ),
    side=st.sampled_from(["left", "right", "both"]),
    asymmetry=st.floats(-1.0, 1.0),
    category=st.sampled_from(["positive", "negative", "surprise", "other"]),
    emotions=st.lists(
        st.builds(AllowedEmotion, st.sampled_from(["anger", "fear"]), st.integers(1, 7)), max_size=2
    ).map(tuple),
    muscles=lists,
    vetoes=lists,
    confidence=st.floats(0.0, 1.0),
    masked_by=st.one_of(st.none(), st.just("macro-1")),
    id=st.just("micro-1"),
)


@given(events)
@settings(max_examples=25)
def test_json_round_trip_has_exactly_the_keys(event: FaceEvent) -> None:
    text = event.to_json()
    assert "\n" not in text
    assert list(json.loads(text)) == SCHEMA
    assert FaceEvent.from_json(text) == event


@given(events)
@settings(max_examples=25)
def test_tsv_round_trip(event: FaceEvent) -> None:
    rows = list(csv.DictReader(io.StringIO(to_tsv([event])), delimiter="\t", quoting=csv.QUOTE_NONE))
    back = from_tsv_row(rows[0])
    assert back.action_units == event.action_units
    assert back.emotions == event.emotions
    assert back.masked_by == event.masked_by
    assert back.onset == pytest.approx(event.onset, abs=1e-6)
    assert back.duration == pytest.approx(event.duration, abs=1e-6)


def test_tsv_begins_as_bids_demands_and_counts_from_the_start() -> None:
    late = FaceEvent(102.0, 0.2, "micro_expression", 102.1)
    early = FaceEvent(101.5, 0.2, "blink", 101.6)
    header, first, second = to_tsv([late, early], start_s=100.0).splitlines()
    assert header.split("\t")[:3] == ["onset", "duration", "trial_type"]
    assert first.split("\t")[0] == "1.500000"
    assert second.split("\t")[3] == "2.100000"
    assert "n/a" in second.split("\t")


def test_sidecar_describes_every_column() -> None:
    sidecar = tsv_sidecar()
    assert tuple(sidecar) == EVENT_KEYS
    assert all(column["Description"] for column in sidecar.values())
    assert set(sidecar["trial_type"]["Levels"]) == {
        "micro_expression",
        "macro_expression",
        "blink",
        "rule",
        "quality",
        "marker",
    }


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_an_event_without_a_time_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="onset"):
        FaceEvent(wrong, 0.1, "blink", 1.0)


def test_another_schema_is_refused() -> None:
    record = FaceEvent(1.0, 0.1, "blink", 1.0).to_dict()
    del record["side"]
    with pytest.raises(ValueError, match="side"):
        FaceEvent.from_dict(record)


def test_a_coders_sparse_row_is_read() -> None:
    event = from_tsv_row({"onset": "3.5", "duration": "0.2", "action_units": "4+7", "coder": "B"})
    assert event.action_units == (4, 7)
    with pytest.raises(ValueError, match="duration"):
        from_tsv_row({"onset": "3.5"})


def test_stream_spec_is_irregular_strings() -> None:
    spec = events_stream_spec()
    assert spec.rate_hz == 0.0
    assert spec.dtype == "string"
    assert spec.metadata["keys"].split(",") == SCHEMA
