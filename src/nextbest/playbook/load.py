"""Read a playbook folder: YAML files in, one checked model out, with the line of every entry."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from nextbest.errors import PlaybookError, Problem, UsageError
from nextbest.playbook.model import Playbook

Place = tuple[str, ...]
SINGLE_FILES = {
    "business": "playbook.yaml",
    "features": "features.yaml",
    "params": "params.yaml",
    "signals": "signals.yaml",
    "segments": "segments.yaml",
    "contact": "contact.yaml",
    "channels": "channels.yaml",
    "learn": "learn.yaml",
}
FOLDERS = {"voices": "voice", "offers": "offers"}
KEYS = {"playbook": "business", "voice": "voices"}
"""What a base's `take` names by file → the part of the model."""
OPTIONAL = ("segments", "learn")
BASE = "base"
"""The folder in which a playbook's copy carries the playbook that it stands on."""
_FAST: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The same in C, many times as fast, where PyYAML was built with it."""
_DEEPEST = 2000


@dataclass(frozen=True)
class Loaded:
    """A playbook, where it stands, its content's hash, the place of each entry (path → `file:line`), and its files.

    `files` holds what was read, by name, a base's files under `base/`: written to a folder they are this playbook again.
    """

    model: Playbook
    folder: Path
    hash: str
    places: dict[Place, str] = field(repr=False)
    files: dict[str, bytes] = field(repr=False)

    def where(self, *path: str) -> str:
        """`file:line` of an entry, or of the nearest entry above it."""
        return place_of(self.places, path)


def built_in() -> Path:
    """The folder of the playbooks that come with Nextbest."""
    return Path(str(files("nextbest"))) / "playbooks"


def find(name_or_folder: str | Path) -> Path:
    """A playbook's folder, by path or by the name of a built-in one. Raises UsageError."""
    for folder in (Path(name_or_folder), built_in() / str(name_or_folder)):
        if (folder / "playbook.yaml").is_file():
            return folder
    known = ", ".join(sorted(path.name for path in built_in().iterdir() if (path / "playbook.yaml").is_file()))
    raise UsageError([Problem(f"playbook '{name_or_folder}'", "no playbook.yaml there", f"name a folder, or a built-in one: {known}")])


def load(name_or_folder: str | Path) -> Loaded:
    """Read and validate a playbook. Raises PlaybookError with every schema problem, each with file and line."""
    folder = find(name_or_folder)
    reader = _Reader()
    tree = reader.tree(folder)
    problems = reader.problems
    if problems:
        raise PlaybookError(sorted(set(problems)))
    try:
        model = Playbook.model_validate(tree)
    except ValidationError as error:
        for item in error.errors():
            entry = tuple(str(part) for part in item["loc"])
            problems.append(Problem(place_of(reader.places, entry), f"{'.'.join(entry)}: {item['msg']}"))
        raise PlaybookError(sorted(set(problems))) from None
    digest = hashlib.sha256()
    for name, content in reader.files.items():
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return Loaded(model, folder, digest.hexdigest(), reader.places, reader.files)


def _with_every_offer(tree: dict[str, Any]) -> dict[str, Any]:
    """The offers with what holds for all of them filled in. What has not its shape is left for the validation to tell."""
    business = tree.get("business")
    shared = business.get("every_offer") if isinstance(business, dict) else None
    offers = tree.get("offers")
    if not isinstance(shared, dict) or not isinstance(offers, dict):
        return tree
    filled = {}
    for name, offer in offers.items():
        if isinstance(offer, dict):
            rules = {
                kind: {**(shared.get(kind) or {}), **(offer.get(kind) or {})}
                for kind in ("eligible", "suitable")
                if isinstance(offer.get(kind, {}), dict | None) and isinstance(shared.get(kind, {}), dict | None)
            }
            evidence = {"evidence": shared["evidence"]} if "evidence" in shared and "evidence" not in offer else {}
            filled[name] = {**offer, **rules, **evidence}
        else:
            filled[name] = offer
    return {**tree, "offers": filled}


def write(loaded: Loaded, folder: Path) -> None:
    """Write the playbook's files, its base's among them."""
    for name, content in loaded.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@dataclass
class _Reader:
    """Reads a playbook's files, and those of the playbook it stands on."""

    places: dict[Place, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)

    def tree(self, folder: Path, prefix: str = "") -> dict[str, Any]:
        own: dict[str, Any] = {}
        places: dict[Place, str] = {}
        missing = []
        for path, key in _files_of(folder):
            name = prefix + path.relative_to(folder).as_posix()
            if not path.is_file():
                missing.append((key[0], name))
                continue
            self.files[name] = path.read_bytes()
            _put(own, key, _read(self.files[name], name, key, places, self.problems))
        self.problems += [
            Problem(prefix + path.relative_to(folder).as_posix(), "nothing reads this file", f"call it {path.stem}.yaml")
            for name in FOLDERS.values()
            for path in sorted((folder / name).glob("[!.]*.yml"))
        ]
        business = own.get("business")
        declared = business.get("base") if isinstance(business, dict) else None
        taken = self._base(folder, declared, places[("business", "base")], prefix) if isinstance(declared, dict) else {}
        self.places |= places
        for entry, file in missing:
            if entry not in taken and entry not in OPTIONAL:
                self.problems.append(Problem(file, "the file is missing", "copy it from a built-in playbook"))
        return _with_every_offer(_over(taken, own))  # a base's offers bring with them what it asks of every offer

    def _base(self, folder: Path, declared: dict[str, Any], where: str, prefix: str) -> dict[str, Any]:
        """What is taken of the base."""
        if prefix.count("/") > 3:
            self.problems.append(Problem(where, "the base stands on a base, and so on", "name one that stands on its own"))
            return {}
        carried = folder / BASE
        try:
            tree = self.tree(carried if carried.is_dir() else find(str(declared.get("playbook"))), f"{prefix}{BASE}/")
        except UsageError as error:
            self.problems += error.problems
            return {}
        chosen, offers = declared.get("offers") or [], tree.get("offers", {})
        for name in chosen:
            if name not in offers:
                self.problems.append(Problem(where, f"the base has no offer '{name}'", f"one of {', '.join(offers)}"))
        take = [KEYS.get(name, name) for name in declared.get("take") or []]
        taken = {key: tree[key] for key in take if key in tree}
        return {**taken, "offers": {name: offers[name] for name in chosen if name in offers}}


MERGED = (
    ("*",),
    ("features", "*"),
    ("voices", "*"),
    ("business", "sources"),
    ("business", "sources", "*"),
    ("business", "sources", "*", "columns"),
)
"""Where entries of both hold side by side; anywhere else an own entry takes the place of the base's whole."""


def _over(base: dict[str, Any], own: dict[str, Any], at: Place = ()) -> dict[str, Any]:
    """Own entries before the base's, within each of MERGED."""
    merged = dict(base)
    for name, entry in own.items():
        here, below = (*at, name), base.get(name)
        within = any(len(path) == len(here) and all(p in ("*", n) for p, n in zip(path, here, strict=True)) for path in MERGED)
        merged[name] = _over(below, entry, here) if within and isinstance(below, dict) and isinstance(entry, dict) else entry
    return merged


def place_of(places: dict[Place, str], path: Place) -> str:
    """`file:line` of the nearest known entry at or above `path`."""
    for length in range(len(path), 0, -1):
        if path[:length] in places:
            return places[path[:length]]
    return "playbook"


def _files_of(folder: Path) -> Iterator[tuple[Path, Place]]:
    for key, name in SINGLE_FILES.items():
        yield folder / name, (key,)
    for key, name in FOLDERS.items():
        for path in sorted((folder / name).glob("*.yaml")):
            yield path, (key, path.stem)


def _put(tree: dict[str, Any], key: Place, value: Any) -> None:
    if len(key) == 1:
        tree[key[0]] = value
    else:
        tree.setdefault(key[0], {})[key[1]] = value


def _read(content: bytes, name: str, key: Place, places: dict[Place, str], problems: list[Problem]) -> Any:
    try:
        content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        problems.append(Problem(f"{name}:{line}", "not UTF-8", "save the file as UTF-8"))
        return {}
    try:
        deep = sum(content.count(mark) for mark in (b"[", b"{", b"- ", b"? ")) > _DEEPEST  # C would run out of stack, and die
        loader = yaml.SafeLoader if deep else _FAST
        node = yaml.compose(content, Loader=loader)
        value = yaml.load(content, Loader=loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{name}:{mark.line + 1}" if mark else name
        problems.append(
            Problem(
                where, f"not valid YAML: {getattr(error, 'problem', None) or 'a value cannot be read, e.g. a date that does not exist'}"
            )
        )
        return {}
    if node is None:
        problems.append(Problem(name, "the file is empty", "fill it in, or remove it"))
        return {}
    _walk(node, name, key, places, problems)
    return value


def _walk(node: yaml.Node, name: str, path: Place, places: dict[Place, str], problems: list[Problem]) -> None:
    places[path] = f"{name}:{node.start_mark.line + 1}"
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                problems.append(Problem(f"{name}:{key.start_mark.line + 1}", f"'{key.value}' stands twice"))
            seen.add(key.value)
            _walk(value, name, (*path, key.value), places, problems)
            places[(*path, key.value)] = f"{name}:{key.start_mark.line + 1}"
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _walk(value, name, (*path, str(index)), places, problems)
