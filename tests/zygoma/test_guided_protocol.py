"""What a protocol may say, and that every mistake is told with its place; markers, forms and stimuli."""

from __future__ import annotations

import copy
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acquisition.stream import DeviceNotFound, InvalidSignal, Kind
from fusion.tables import EMOTIONS
from zygoma.guided.markers import StimulusMarker, marker, understand
from zygoma.guided.preflight import Facts, StreamFacts, examine
from zygoma.guided.protocol import PROTOCOL_BYTES, load_protocol, parse_protocol
from zygoma.guided.self_report import COLUMNS, ReportRow, SelfReport, parse_report, write_reports
from zygoma.guided.stimuli import stimulus_path

EXAMPLES = Path(__file__).parents[2] / "examples"
ALL_SCALES = ("valence", "arousal", "emotions", "text")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "joy.png").write_bytes(b"a picture")
    return tmp_path / "protocol.toml"


def values(**changes: Any) -> dict[str, Any]:
    return {
        "task": "elicitation",
        "participant": {"pseudonym": "P07"},
        "consent": {"scope": "analysis only", "version": "2.1"},
        "devices": [{"kind": "Camera", "minimum_rate_hz": 25}, {"kind": "EMG"}],
        "blocks": [
            {
                "id": "films",
                "stimuli": [{"id": "joy1", "intended": "happiness", "duration_s": 5, "file": "joy.png"}],
            }
        ],
        **changes,
    }


@pytest.mark.parametrize("name", ["protocol.toml", "protocol-short.toml"])
def test_the_examples_are_protocols(name: str) -> None:
    protocol = load_protocol(EXAMPLES / name)
    assert protocol.wants(Kind.CAMERA)
    assert list(protocol.stimuli())


def test_what_is_left_out_has_the_usual_value(path: Path) -> None:
    protocol = parse_protocol(values(), path)
    assert protocol.baseline_s == 30.0
    assert protocol.mvc.repetitions == 3
    assert protocol.self_report.scales == ALL_SCALES
    assert protocol.folder == path.parent


def changed(place: str, value: Any) -> dict[str, Any]:
    """The good protocol with one value set; `place` as in ``blocks.0.stimuli.0.file``."""
    result = copy.deepcopy(values())
    *way, last = place.split(".")
    at: Any = result
    for part in way:
        at = at[int(part)] if part.isdigit() else at.setdefault(part, {})
    at[last] = value
    return result


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        ("participant.pseudonym", "Anna", "participant.pseudonym: subject 'Anna' must be a code"),
        ("participant.name", "Anna", "participant.name: this key is not known"),
        ("consent.version", "", "consent.version: "),
        ("devices.1.kind", "EEG", "devices[1].kind: "),
        ("devices.0.kind", "Valence", "devices[0].kind: a device is of kind"),
        ("devices.0.minimum_rate_hz", -1, "devices[0].minimum_rate_hz: "),
        ("baseline_s", "long", "baseline_s: "),
        ("baseline_s", float("nan"), "baseline_s: "),
        ("mvc.repetitions", 99, "mvc.repetitions: "),
        ("self_report.scales", ["mood"], "self_report.scales[0]: "),
        ("task", "two words", "task: 'two words' must be letters and digits"),
        ("blocks.0.stimuli.0.intended", "contempt", "blocks[0].stimuli[0].intended: "),
        ("blocks.0.stimuli.0.duration_s", 0, "blocks[0].stimuli[0].duration_s: "),
        ("blocks.0.stimuli.0.external", "PsychoPy", "either a file or an external program"),
        ("blocks.0.stimuli.0.file", "joy.exe", "neither a picture nor a video"),
        ("blocks.0.stimuli.0.file", "missing.png", "blocks[0].stimuli[0].file: 'missing.png' is not there"),
        ("blocks.0.stimuli.0.file", "../joy.png", "is not inside the protocol's folder"),
        ("blocks.0.stimuli.0.file", "/etc/joy.png", "is not inside the protocol's folder"),
        ("blocks.0.stimuli.0.file", "joy\0.png", "is not inside the protocol's folder"),
        ("blocks.0.stimuli", [], "blocks[0].stimuli: "),
        ("blocks.0.stimuli.0.id", "../../x", "blocks[0].stimuli[0].id: "),
        ("devices.1.kind", "Camera", "device 'Camera' is there twice"),
        ("folder", "/", "folder: this key is not known"),
        ("mvc.two\nlines", 1, "mvc.'two\\nlines': this key is not known"),
    ],
)
def test_a_mistake_is_told_with_its_place(path: Path, place: str, value: Any, told: str) -> None:
    with pytest.raises(InvalidSignal) as error:
        parse_protocol(changed(place, value), path)
    assert told in str(error.value)
    assert str(path) in str(error.value)


def test_all_mistakes_are_told_at_once(path: Path) -> None:
    wrong = values(baseline_s=1, task="a b", speed="fast")
    with pytest.raises(InvalidSignal) as error:
        parse_protocol(wrong, path)
    assert len(str(error.value).splitlines()) == 3


def test_a_link_out_of_the_folder_is_not_followed(path: Path) -> None:
    (path.parent / "out.png").symlink_to("/etc/hostname")
    with pytest.raises(InvalidSignal, match="not inside"):
        parse_protocol(changed("blocks.0.stimuli.0.file", "out.png"), path)


def test_a_file_that_is_no_protocol_is_refused(tmp_path: Path) -> None:
    for name, content, told in (
        ("broken.toml", b"task = ", "is not TOML"),
        ("bytes.toml", b"\xff\xfe", "is not TOML"),
        ("long.toml", b"#" * (PROTOCOL_BYTES + 1), "is longer"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InvalidSignal, match=told):
            load_protocol(tmp_path / name)
    with pytest.raises(InvalidSignal, match="cannot be read"):
        load_protocol(tmp_path / "none.toml")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=50, deadline=None)
@given(key=st.sampled_from([*values(), "mvc", "self_report", "other"]), value=json_values)
def test_whatever_is_in_the_file_it_is_a_protocol_or_a_sentence(key: str, value: Any) -> None:
    try:
        parse_protocol({**values(), key: value}, EXAMPLES / "stimuli" / "sunny.png")
    except InvalidSignal as error:
        assert all(line.startswith(str(EXAMPLES)) for line in str(error).splitlines() if line)


# -- markers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("StimOn", ("on", "")),
        ("StimOff", ("off", "")),
        ("StimOn/joy1", ("on", "joy1")),
        ("StimOn: joy1", ("on", "joy1")),
        ("stim_on_joy_1", ("on", "joy_1")),
        ("STIMULUS ONSET joy1", ("on", "joy1")),
        ("StimulusEnd joy1.png", ("off", "joy1.png")),
        ('{"event": "StimOn", "id": "joy1"}', ("on", "joy1")),
        ('{"trial_type": "StimOff/joy1"}', ("off", "joy1")),
        ("Stimulating", None),
        ("StimOnce", None),
        ("trial 7", None),
        ("", None),
        ("{", None),
        ('{"event": 7}', None),
        ("StimOn " + "x" * 5000, None),
    ],
)
def test_stimulus_markers_of_other_programs_are_understood(
    text: str, meaning: tuple[str, str] | None
) -> None:
    assert understand(text) == meaning


@settings(max_examples=60, deadline=None)
@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,20}", fullmatch=True))
def test_our_own_markers_are_understood_by_ourselves(stimulus: str) -> None:
    assert understand(marker("StimOn", stimulus)) == StimulusMarker("on", stimulus)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60) | json_values.map(json.dumps))
def test_any_text_may_come_over_lsl(text: str) -> None:
    understand(text)


# -- self-report -----------------------------------------------------------------------------------------

FULL = {"valence": 7, "arousal": 3, "emotions": dict.fromkeys(EMOTIONS, 0), "text": "=1+1\tok\n"}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"valence": 10}, "valence"),
        ({"valence": "7"}, "valence"),
        ({"valence": True}, "valence"),
        ({"arousal": None}, "answer arousal"),
        ({"emotions": {"joy": 3}}, "emotions"),
        ({"emotions": {"anger": 3}}, "answer emotions"),
        ({"text": "x" * 3000}, "text"),
        ({"mood": 1}, "mood"),
    ],
)
def test_a_form_is_answered_as_asked(change: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidSignal, match=told):
        parse_report({**FULL, **change}, ALL_SCALES)


def test_a_scale_that_was_not_asked_for_is_refused() -> None:
    with pytest.raises(InvalidSignal, match="arousal was not asked"):
        parse_report({"valence": 5, "arousal": 5}, ("valence",))
    assert parse_report({"valence": 5}, ("valence",)).reported() == ("neutral",)


def test_what_a_form_says_for_the_label() -> None:
    def reported(**form: Any) -> tuple[str, ...]:
        return SelfReport.model_validate(form).reported()

    assert reported(valence=8, emotions={"anger": 3, "fear": 7, "disgust": 7}) == ("fear", "disgust")
    assert reported(valence=8, emotions=dict.fromkeys(EMOTIONS, 0)) == ("positive",)
    assert reported(valence=2) == ("negative",)
    assert reported() == ()


def test_reports_are_a_table_with_its_description(tmp_path: Path) -> None:
    report = parse_report(FULL, ALL_SCALES)
    rows = [
        ReportRow("films", "joy1", 1, "happiness", 12.5, 5.0, 20.25, report),
        ReportRow("films", "joy1", 2, "happiness", 30.0, 5.0, 36.0, None),
    ]
    path = tmp_path / "x_self_report.tsv"
    write_reports(path, rows, 10.0)
    header, first, second = (line.split("\t") for line in path.read_text().splitlines())
    assert tuple(header) == COLUMNS
    assert dict(zip(header, first, strict=True))["onset"] == "2.500000"
    assert dict(zip(header, first, strict=True))["text"] == "1+1 ok"
    assert dict(zip(header, second, strict=True))["valence"] == "n/a"
    described = json.loads(path.with_suffix(".json").read_text())
    assert set(COLUMNS) <= set(described)


# -- stimuli and checklist ---------------------------------------------------------------------------------


def test_stimuli_are_found_by_their_id_only(path: Path) -> None:
    protocol = parse_protocol(values(), path)
    stimulus = protocol.stimulus("joy1")
    assert stimulus_path(protocol.folder, stimulus.file) == path.parent.resolve() / "joy.png"
    with pytest.raises(DeviceNotFound):
        protocol.stimulus("../joy1")


GOOD = Facts(
    streams=(
        StreamFacts("webcam", Kind.CAMERA, 29.9, 0.02, 300),
        StreamFacts("board", Kind.EMG, 1000.0, 0.01, 9000),
    ),
    face_confidence=0.9,
    emg_words={"ZYG_L": "zygomaticus left: good"},
    free_bytes=10**11,
    participant_page=True,
)


@pytest.mark.parametrize(
    ("change", "red"),
    [
        ({}, []),
        ({"streams": GOOD.streams[:1]}, ["EMG stream"]),
        (
            {"streams": (StreamFacts("webcam", Kind.CAMERA, 12.0, 0.0, 9), *GOOD.streams[1:])},
            ["Camera stream"],
        ),
        (
            {"streams": (StreamFacts("webcam", Kind.CAMERA, 30.0, 9.0, 9), *GOOD.streams[1:])},
            ["Camera stream"],
        ),
        ({"face_confidence": float("nan")}, ["Face"]),
        ({"emg_words": {"ZYG_L": "zygomaticus left: 50 Hz at 40 % of power: check ground"}}, ["EMG ZYG_L"]),
        ({"free_bytes": 10**9}, ["Disk"]),
        ({"participant_page": False}, ["Participant page"]),
    ],
)
def test_the_checklist_is_red_where_something_is_wrong(path: Path, change: Any, red: list[str]) -> None:
    from dataclasses import replace

    health = examine(parse_protocol(values(), path), replace(GOOD, **change))
    assert [check.label for check in health.checks if not check.ok] == red
    assert all(check.detail for check in health.checks)


def test_a_silent_required_stream_is_lost_and_an_optional_one_is_not(path: Path) -> None:
    devices = [{"kind": "Camera"}, {"kind": "Thermal", "required": False}, {"kind": "Markers"}]
    health = examine(parse_protocol(values(devices=devices), path), Facts())
    assert health.lost == ("Camera",)
    assert [check.required for check in health.checks][:3] == [True, False, True]


def test_the_example_for_psychopy_says_what_the_example_protocol_expects() -> None:
    text = (EXAMPLES / "protocol.toml").read_text()
    external = [
        stimulus["id"]
        for block in tomllib.loads(text)["blocks"]
        for stimulus in block["stimuli"]
        if "external" in stimulus
    ]
    code = (EXAMPLES / "psychopy_markers.py").read_text()
    assert external
    assert all(f'"{name}"' in code for name in external)
