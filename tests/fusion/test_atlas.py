"""The brain-to-face map against sections 2, 3 and 4 of the paper."""

from __future__ import annotations

import pytest

from fusion.atlas import aus_of, branches_of, load_atlas, main_branch_of, muscles_of
from fusion.tables import TABLE_3

ATLAS = load_atlas()


@pytest.mark.parametrize(
    ("branch", "muscles"),
    [
        # Section 2, second paragraph.
        ("temporal", {"frontalis", "corrugator supercilii", "depressor supercilii", "orbicularis oculi"}),
        ("zygomatic", {"orbicularis oculi", "zygomaticus"}),
        ("buccal", {"buccinator", "orbicularis oris"}),
        ("marginal mandibular", {"depressor anguli oris", "lower lip", "chin"}),
        ("cervical", {"platysma"}),
    ],
)
def test_branches_innervate_the_muscles_of_section_2(branch: str, muscles: set[str]) -> None:
    served = {part.group for part in ATLAS.muscles.values() if branch in part.branches}
    assert muscles <= served


def test_section_3_nucleus_and_cortical_systems() -> None:
    upper, lower = ATLAS.nuclei
    assert upper.cortex == "both hemispheres"  # 3.1: bilaterally
    assert "opposite" in lower.cortex  # 3.1: contralateral only
    assert {system.family for system in ATLAS.systems} == {"somatic", "emotional"}  # 3.2.1, 3.2.2
    assert any("pyramidal" in system.tract for system in ATLAS.systems)
    assert len([branch for branch in ATLAS.branches.values() if branch.nerve == "CN VII"]) == 5


@pytest.mark.parametrize(
    ("muscle", "origin", "insertion", "units"),
    [
        ("zygomaticus major", "zygomatic bone", "angulus oris", (12,)),  # 4.1
        (
            "corrugator supercilii",
            "medial end of the arch of the eyebrow",
            "skin of the eyebrow",
            (4,),
        ),  # 4.1
        ("depressor anguli oris", "oblique line of the mandible", "angulus oris", (15,)),  # 4.2.1
        ("frontalis", "epicranial aponeurosis", "skin of the brow", (1, 2)),  # 4.2.2
    ],
)
def test_origin_and_insertion_of_section_4(
    muscle: str, origin: str, insertion: str, units: tuple[int, ...]
) -> None:
    parts = [part for part in ATLAS.muscles.values() if muscle in (part.name, part.group)]
    assert parts
    assert all(origin in part.origin and insertion in part.insertion for part in parts)
    assert aus_of(muscle) == units


def test_au4_is_corrugator_and_depressor_supercilii_by_the_temporal_branch() -> None:
    # Section 4.1: "AU4, which is controlled by contraction of the depressor supercilii and corrugator".
    assert muscles_of(4)[:2] == ("corrugator supercilii", "depressor supercilii")
    assert main_branch_of(4) == "temporal"
    assert main_branch_of(12) == "zygomatic"
    assert branches_of(15) == ("marginal mandibular", "buccal")  # 2 and 4.2.1 differ: both kept


def test_every_link_holds_in_both_directions() -> None:
    for unit in ATLAS.action_units.values():
        assert unit.muscles
        for muscle in unit.muscles:
            assert unit.number in ATLAS.muscles[muscle].action_units
    for muscle in ATLAS.muscles.values():
        assert all(muscle.name in ATLAS.action_units[unit].muscles for unit in muscle.action_units)
        assert all(branch in ATLAS.branches for branch in muscle.branches)
        assert muscle.source


def test_every_au_of_table_3_has_muscles() -> None:
    assert all(muscles_of(unit) for units in TABLE_3.values() for unit in units)


@pytest.mark.parametrize("question", ["AU4", "4", "brow lowerer", " au 4 "])
def test_ask_by_action_unit(question: str) -> None:
    answer = ATLAS.ask(question)
    assert answer.subject == "AU4"
    assert {path.branch for path in answer.paths} >= {"temporal"}
    assert answer.paths[0].emotions == ("anger", "fear", "disgust", "sadness")
    assert len(answer.systems) == 3


def test_ask_by_muscle_branch_emotion_and_nucleus() -> None:
    assert {path.action_unit for path in ATLAS.ask("Zygomaticus").paths} == {11, 12}
    assert {path.action_unit for path in ATLAS.ask("temporal branch").paths} >= {1, 2, 4, 6, 7}
    assert {path.action_unit for path in ATLAS.ask("fear").paths} == set(TABLE_3["fear"])
    assert {path.nucleus for path in ATLAS.ask("upper").paths} == {"upper"}


def test_disagreements_are_kept_and_found() -> None:
    assert any("relaxation" in point.paper for point in ATLAS.ask("AU25").disagreements)
    assert any("Rule 7" in point.paper for point in ATLAS.ask("AU5").disagreements)
    assert any("Rule 7" in point.paper for point in ATLAS.ask("sadness").disagreements)


def test_an_unknown_name_says_what_is_near() -> None:
    with pytest.raises(KeyError, match="zygomaticus major"):
        ATLAS.ask("zygomat")
    with pytest.raises(KeyError, match="frontalis"):
        aus_of("biceps")
    assert muscles_of(99) == ()


@pytest.mark.parametrize(
    ("question", "subject"),
    [
        ("pyramidal tract", "voluntary motor system"),  # 3.2.1
        ("extrapyramidal tract", "involuntary motor system"),  # 3.2.1
        ("amygdaloid nucleus", "emotional motor system"),  # 3.2.2
        ("lateral hypothalamus", "emotional motor system"),
        ("striatum", "emotional motor system"),
        ("reticular formation", "emotional motor system"),
        ("CN VII", "facial nucleus"),  # 3: "The nerve that emanates from the facial nucleus"
    ],
)
def test_parts_of_the_brain_lead_to_their_system(question: str, subject: str) -> None:
    assert ATLAS.ask(question).subject == subject


def test_the_auricular_posterior_nerve_serves_the_frontalis() -> None:
    # Section 4.2.2; anatomy gives it the occipital belly only, and the atlas says so.
    answer = ATLAS.ask("auricular posterior nerve")
    assert {path.action_unit for path in answer.paths} == {1, 2}
    assert {muscle.group for muscle in answer.muscles} == {"frontalis"}
    assert any("occipital belly" in point.other for point in answer.disagreements)
    assert branches_of(1) == ("temporal", "posterior auricular")


def test_a_muscle_answers_with_its_anatomy_and_its_nerve() -> None:
    answer = ATLAS.ask("corrugator supercilii")
    (muscle,) = answer.muscles
    assert muscle.action.startswith("depresses the brow")  # 4.1: "depresses the brow and generates a frown"
    assert [branch.name for branch in answer.branches] == ["temporal"]
    assert [part.name for part in answer.nuclei] == ["upper"]


def test_the_brain_can_be_asked_for() -> None:
    # Section 3.2: parallel systems that all reach the facial nucleus.
    answer = ATLAS.ask("Emotional motor system")
    assert (answer.kind, [system.family for system in answer.systems]) == ("cortical system", ["emotional"])
    whole = ATLAS.ask("facial nucleus")
    assert [part.name for part in whole.nuclei] == ["upper", "lower"]  # 3.1
    assert whole.paths == answer.paths
    assert all(path.nerve.startswith("CN VII") for path in whole.paths)
