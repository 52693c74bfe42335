"""From brain to face: cortical system, facial nucleus, nerve branch, muscle, action unit, emotion.

The map is data (``data/atlas.toml``) with its sources; this module answers questions in either direction.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from fusion.tables import TABLE_3, emotions_of

_NUCLEUS = "facial nucleus"
"""The whole of it, upper and lower part."""

_NERVE = ("facial nerve", "cn vii", "cranial nerve vii", "seventh nerve")
"""What comes from it."""


_AURICULAR = ("posterior auricular nerve", "auricular posterior nerve", "auricular posterior")
"""The paper's section 4.2.2 turns the words round."""


@dataclass(frozen=True)
class CorticalSystem:
    """A motor system of the brain that reaches the facial nucleus (section 3.2).

    Attributes:
        also: Its parts and tracts, by which it may be asked for.
    """

    name: str
    family: str
    tract: str
    also: tuple[str, ...]
    origin: str
    property: str
    source: str


@dataclass(frozen=True)
class NucleusPart:
    """The upper or lower part of the facial nucleus (section 3.1).

    Attributes:
        name: ``upper`` or ``lower``.
        cortex: Which hemispheres innervate it.
        face: Which muscles it serves.
    """

    name: str
    cortex: str
    face: str
    source: str


@dataclass(frozen=True)
class Branch:
    """A branch of a cranial nerve: the five of CN VII (section 2), the nerve that it gives off before, and
    those of other nerves to the eyelid and the jaw.
    """

    name: str
    nerve: str
    nucleus: str
    course: str
    source: str


@dataclass(frozen=True)
class Muscle:
    """A facial muscle (sections 2 and 4).

    Attributes:
        name: Of the muscle or of its part that FACS tells apart.
        group: The name that the paper uses for the whole, e.g. ``orbicularis oculi``.
        branches: Names of `Branch`, main one first.
        action_units: The AUs it takes part in.
    """

    name: str
    group: str
    origin: str
    insertion: str
    action: str
    branches: tuple[str, ...]
    action_units: tuple[int, ...]
    source: str


@dataclass(frozen=True)
class ActionUnit:
    """A visible unit of facial movement (FACS); `muscles` has the main one first."""

    number: int
    name: str
    muscles: tuple[str, ...]


@dataclass(frozen=True)
class Disagreement:
    """A point on which the paper and another source, or the paper and itself, differ; both are kept."""

    about: tuple[str, ...]
    paper: str
    other: str
    kept: str

    def __str__(self) -> str:
        return f"paper: {self.paper} But {self.other} {self.kept}"


@dataclass(frozen=True)
class Path:
    """One way from the brain to an emotion: a row of the map, as in the paper's figure 1.

    `emotions` are those of table 3 for the action unit; empty for AUs that it does not list.
    """

    nucleus: str
    nerve: str
    branch: str
    muscle: str
    action_unit: int
    emotions: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    """What the atlas knows about one action unit, muscle, branch, emotion or part of the brain.

    Attributes:
        subject: What was asked for, in the atlas's own spelling.
        kind: ``action unit``, ``muscle``, ``branch``, ``nucleus``, ``cortical system`` or ``emotion``.
        paths: Every way through it from the nucleus to the emotions.
        systems: The cortical systems, which all reach the facial nucleus; the one that was asked for.
        nuclei, branches, muscles: What lies on these ways, in the atlas's order.
        disagreements: Those that concern the subject.
    """

    subject: str
    kind: str
    paths: tuple[Path, ...]
    systems: tuple[CorticalSystem, ...]
    nuclei: tuple[NucleusPart, ...]
    branches: tuple[Branch, ...]
    muscles: tuple[Muscle, ...]
    disagreements: tuple[Disagreement, ...]

    def to_dict(self) -> dict[str, Any]:
        """The answer in JSON's types."""
        return asdict(self)


@dataclass(frozen=True)
class Atlas:
    """The whole map. Build it with `load_atlas`."""

    systems: tuple[CorticalSystem, ...]
    nuclei: tuple[NucleusPart, ...]
    branches: dict[str, Branch]
    muscles: dict[str, Muscle]
    action_units: dict[int, ActionUnit]
    disagreements: tuple[Disagreement, ...]

    def paths(self) -> tuple[Path, ...]:
        """Every row of the map, by action unit, main muscle and main branch first."""
        return tuple(
            Path(
                self.branches[branch].nucleus,
                self.branches[branch].nerve,
                branch,
                muscle,
                unit.number,
                emotions_of(unit.number),
            )
            for unit in self.action_units.values()
            for muscle in unit.muscles
            for branch in self.muscles[muscle].branches
        )

    def ask(self, subject: str) -> Answer:
        """What the atlas knows about `subject`, in either direction.

        Args:
            subject: An action unit (``AU4``, ``4``, ``brow lowerer``), a muscle or muscle group, a branch,
                the facial nucleus or a part of it (``upper``), a cortical system (``emotional motor system``)
                or an emotion; case does not matter.

        Raises:
            KeyError: Nothing of that name; the message lists what is near it.
        """
        name, kind = self._resolve(subject)
        tests: dict[str, Callable[[Path], bool]] = {
            "action unit": lambda path: f"AU{path.action_unit}" == name,
            "muscle": lambda path: name in (path.muscle, self.muscles[path.muscle].group),
            "branch": lambda path: path.branch == name,
            "nucleus": lambda path: path.nucleus == name or (name == _NUCLEUS and _facial(path)),
            # Section 3.2: all systems end in the facial nucleus, so every way of CN VII passes through each.
            "cortical system": _facial,
            "emotion": lambda path: name in path.emotions,
        }
        paths = tuple(path for path in self.paths() if tests[kind](path))
        about = {name} | {part.name for part in self.muscles.values() if part.group == name}
        crossed = {part for path in paths for part in (path.nucleus, path.branch, path.muscle)}
        return Answer(
            name,
            kind,
            paths,
            tuple(each for each in self.systems if kind != "cortical system" or name == each.name),
            tuple(each for each in self.nuclei if each.name in crossed),
            tuple(each for each in self.branches.values() if each.name in crossed),
            tuple(each for each in self.muscles.values() if each.name in crossed),
            tuple(point for point in self.disagreements if about & set(point.about)),
        )

    def _resolve(self, subject: str) -> tuple[str, str]:
        wanted = " ".join(subject.lower().split())
        number = wanted.removeprefix("au").strip()
        if number.isdigit() and int(number) in self.action_units:
            return f"AU{int(number)}", "action unit"
        names = {unit.name: (f"AU{unit.number}", "action unit") for unit in self.action_units.values()}
        names |= {
            name: (system.name, "cortical system")
            for system in self.systems
            for name in (system.name, *system.also)
        }
        names |= {part.name: (part.name, "nucleus") for part in self.nuclei}
        names |= dict.fromkeys((_NUCLEUS, *_NERVE), (_NUCLEUS, "nucleus"))
        names |= {muscle.group: (muscle.group, "muscle") for muscle in self.muscles.values()}
        names |= {muscle: (muscle, "muscle") for muscle in self.muscles}
        # "zygomatic" is a branch, "zygomaticus" a muscle: whole names only.
        names |= {branch: (branch, "branch") for branch in self.branches}
        names |= {f"{branch} branch": (branch, "branch") for branch in self.branches}
        names |= dict.fromkeys(_AURICULAR, ("posterior auricular", "branch"))
        names |= {emotion: (emotion, "emotion") for emotion in TABLE_3}
        if wanted in names:
            return names[wanted]
        near = sorted(name for name in names if wanted and (wanted in name or name in wanted))
        known = near or [*TABLE_3, *self.branches]
        raise KeyError(f"the atlas has no {subject!r}; try {', '.join(known)}, or an action unit such as AU4")


def _facial(path: Path) -> bool:
    return path.nerve.startswith("CN VII")


@cache
def load_atlas() -> Atlas:
    """The map that ships with zygoma."""
    text = files("fusion").joinpath("data/atlas.toml").read_text(encoding="utf-8")
    data = tomllib.loads(text)

    def records(table: str) -> list[dict[str, Any]]:
        return [
            {key: tuple(value) if isinstance(value, list) else value for key, value in record.items()}
            for record in data[table]
        ]

    return Atlas(
        systems=tuple(CorticalSystem(**record) for record in records("cortical_system")),
        nuclei=tuple(NucleusPart(**record) for record in records("nucleus")),
        branches={record["name"]: Branch(**record) for record in records("branch")},
        muscles={record["name"]: Muscle(**record) for record in records("muscle")},
        action_units={record["number"]: ActionUnit(**record) for record in records("action_unit")},
        disagreements=tuple(Disagreement(**record) for record in records("disagreement")),
    )


def muscles_of(action_unit: int) -> tuple[str, ...]:
    """Muscles of an action unit, main one first; empty for one that the atlas does not hold."""
    unit = load_atlas().action_units.get(action_unit)
    return unit.muscles if unit else ()


def branches_of(action_unit: int) -> tuple[str, ...]:
    """Nerve branches of an action unit's muscles, main one first, each once."""
    atlas = load_atlas()
    return tuple(
        dict.fromkeys(branch for name in muscles_of(action_unit) for branch in atlas.muscles[name].branches)
    )


def main_branch_of(action_unit: int) -> str:
    """The branch that drives the main muscle of an action unit.

    Raises:
        KeyError: The atlas does not hold the action unit.
    """
    atlas = load_atlas()
    return atlas.muscles[atlas.action_units[action_unit].muscles[0]].branches[0]


def aus_of(muscle: str) -> tuple[int, ...]:
    """Action units that a muscle, or a muscle group by the paper's name, takes part in.

    Raises:
        KeyError: The atlas holds no such muscle.
    """
    parts = [part for part in load_atlas().muscles.values() if muscle.lower() in (part.name, part.group)]
    if not parts:
        raise KeyError(f"the atlas has no muscle {muscle!r}; it has {', '.join(load_atlas().muscles)}")
    return tuple(sorted({unit for part in parts for unit in part.action_units}))
