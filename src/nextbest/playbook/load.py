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
    "contact": "contact.yaml",
    "channels": "channels.yaml",
}
FOLDERS = {"voices": "voice", "offers": "offers"}


@dataclass(frozen=True)
class Loaded:
    """A playbook, where it stands, its content's hash, and the place of each entry (path → `file:line`)."""

    model: Playbook
    folder: Path
    hash: str
    places: dict[Place, str] = field(repr=False)

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
    places: dict[Place, str] = {}
    problems: list[Problem] = []
    digest = hashlib.sha256()
    tree: dict[str, Any] = {}
    for path, key in _files_of(folder):
        name = path.relative_to(folder).as_posix()
        if not path.is_file():
            problems.append(Problem(name, "the file is missing", "copy it from a built-in playbook"))
            continue
        content = path.read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
        _put(tree, key, _read(content, name, key, places, problems))
    if problems:
        raise PlaybookError(sorted(set(problems)))
    model = None
    try:
        model = Playbook.model_validate(tree)
    except ValidationError as error:
        for item in error.errors():
            entry = tuple(str(part) for part in item["loc"])
            problems.append(Problem(place_of(places, entry), f"{'.'.join(entry)}: {item['msg']}"))
    if model is None or problems:
        raise PlaybookError(sorted(set(problems)))
    return Loaded(model, folder, digest.hexdigest(), places)


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
        node = yaml.compose(content, Loader=yaml.SafeLoader)
        value = yaml.safe_load(content)
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
