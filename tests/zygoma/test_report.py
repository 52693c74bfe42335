"""The report of an analysis: what is in it, drawn to scale, and in one file that needs no other."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from acquisition.stream import Block, Channel, Kind, SampleType, StreamSpec
from fusion.events import FaceEvent
from zygoma.report import write_report
from zygoma.summary import Summary
from zygoma.tables import TableWriter

START_S = 100.0
LENGTH_S = 20.0


def table(folder: Path, name: str, columns: dict[str, np.ndarray]) -> None:
    labels = tuple(Channel(label) for label in columns)
    spec = StreamSpec(name, Kind.VALENCE, labels, 10.0, SampleType.FLOAT32, name)
    values = np.stack(list(columns.values()), axis=1).astype(np.float32)
    writer = TableWriter(folder / f"{name}.parquet", START_S)
    writer.add(Block(spec, START_S + np.arange(len(values)) / 10, values, 0))
    writer.close()


def page(folder: Path, events: list[FaceEvent]) -> str:
    summary = Summary(folder, "<b>sub-01</b>", LENGTH_S, frames=600, frames_with_face=300, events=events)
    summary.quality_words = {"ZYG_L": "zygomaticus left: good", "face": "too dark in 9 % of the frames"}
    return write_report(folder, summary, START_S).read_text(encoding="utf-8")


def curves(text: str) -> dict[str, np.ndarray]:
    """Points [n, 2] of each curve of the figures, by the lane's name, in the pixels of its figure."""
    found = {}
    for figure in re.findall(r"<svg.*?</svg>", text):
        root = ElementTree.fromstring(figure)
        names = [each.text or "" for each in root.iter("text") if each.get("class") == "name"]
        traces = [each.get("d", "") for each in root.iter("path") if each.get("class") == "trace"]
        for name, trace in zip(names, traces, strict=True):
            found[name] = np.array([pair.split() for pair in trace[1:].split("L")], dtype=float)
    return found


def test_tables_are_drawn_to_scale_and_short_peaks_survive(tmp_path: Path) -> None:
    times = np.arange(200) / 10
    peak = np.where(np.arange(200) == 100, 1.0, 0.0)
    table(tmp_path, "valence", {"valence": np.sin(times), "standard_error": np.full(200, 0.1)})
    table(tmp_path, "action_units", {"AU12": peak, "AU99": peak, "AU12_se": peak})
    table(tmp_path, "muscle_activity", {"ZYG_L_z": peak, "ZYG_L_slow_z": peak})
    table(tmp_path, "skin_temperature", {"nose_tip_delta_celsius": 0.55 - peak / 20, "nose_tip_valid": peak})
    text = page(tmp_path, [])
    drawn = curves(text)
    assert list(drawn) == ["valence", "AU12 lip corner puller", "zygomaticus left", "nose tip"]
    unit = drawn["AU12 lip corner puller"]
    left, right = unit[:, 0].min(), unit[:, 0].max()
    highest = unit[unit[:, 1].argmin()]
    assert abs((highest[0] - left) / (right - left) - 100 / 199) < 0.01
    assert unit[:, 1].max() - unit[:, 1].min() > 25
    assert ">0.6</text>" in text  # the skin's scale holds what there is


def test_candidates_are_listed_shaded_and_explained_without_a_way_in_for_markup(tmp_path: Path) -> None:
    table(tmp_path, "valence", {"valence": np.zeros(200), "standard_error": np.zeros(200)})
    events = [
        FaceEvent(110.0, 0.2, "micro_expression", 110.1, (4,), category="negative", confidence=0.876,
                  evidence_camera=3.14, explanation="<script>alert(1)</script>"),
        FaceEvent(101.0, 0.1, "blink", 101.05),
    ]  # fmt: skip
    text = page(tmp_path, events)
    assert "Candidates (1)" in text
    assert "<script>" not in text and "<b>" not in text
    for words in ("10.000", ">200<", "88 %", "+3.1", "50.0 % of 600 frames", "face: too dark in 9 %"):
        assert words in text
    (shade,) = re.findall(r'<rect class="negative" x="([\d.]+)" y="0" width="([\d.]+)"', text)
    (lane,) = re.findall(r'<rect class="lane" x="(\d+)" y="0" width="(\d+)"', text)
    assert (float(shade[0]) - float(lane[0])) / float(lane[1]) == 0.5
    assert "http" not in text and "src=" not in text


def test_a_hole_in_the_data_is_a_hole_in_the_curve_and_no_data_is_no_figure(tmp_path: Path) -> None:
    values = np.zeros(200)
    values[80:120] = np.nan
    table(tmp_path, "valence", {"valence": values, "standard_error": np.zeros(200)})
    text = page(tmp_path, [])
    assert text.count('class="trace"') == 2
    assert text.count("<svg") == 1
    assert "None." in text
