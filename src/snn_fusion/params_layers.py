"""A parameters file that holds only what differs from another one, which it names with `extends`."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snn_fusion.errors import BadInput
from snn_fusion.strict_yaml import check_plain, read_yaml

EXTENDS = "extends"
MOST_FILES = 20  # in one chain
Key = tuple[str | int, ...]


@dataclass(frozen=True)
class Layers:
    """The merged content of a chain of files, and each file's own content, the one that was named first.

    `raw` is a mapping unless the file that was named holds something else.
    """

    raw: object
    files: tuple[tuple[Path, object], ...]

    def owner(self, key: Key) -> Path:
        """The file that decides a key: the first one that sets it, or else the nearest key above it."""
        for length in range(len(key), 0, -1):
            for path, content in self.files:
                if _has(content, key[:length]):
                    return path
        return self.files[0][0]


def read_layers(path: Path, takes_null: Callable[[Key], bool]) -> Layers:
    """Read a file and those that it extends, and merge them: mappings key by key, everything else as a whole.

    A null removes the key that the extended file has, unless the key `takes_null` as its value. `extends` is relative
    to the file that holds it. Raises BadInput naming the file for anything that is not plain YAML, for a chain that
    leads back to itself, and for a null that removes nothing.
    """
    files: list[tuple[Path, object]] = []
    named: Path | None = path
    while named is not None:
        chain = [*(one for one, _ in files), named]
        if named.resolve() in (one.resolve() for one, _ in files):
            shown = " extends ".join(map(str, chain))
            raise BadInput(f"{files[-1][0]}: {EXTENDS}", f"leads back to itself: {shown}", f"remove one `{EXTENDS}`")
        if len(chain) > MOST_FILES:
            raise BadInput(f"{path}: {EXTENDS}", f"a chain of more than {MOST_FILES} files", "merge some of them")
        content, parent = _read(named, files[-1][0] if files else None)
        files.append((named, content))
        named = parent
    merged = files[-1][1]
    for file, content in reversed(files[:-1]):
        merged = _Patch(file, takes_null).applied(merged, content, ())
    return Layers(merged, tuple(files))


def _read(path: Path, child: Path | None) -> tuple[object, Path | None]:
    """A file's own content, and the file that it extends."""
    try:
        content = read_yaml(path)
    except BadInput as error:
        if child is None or Path(error.where) != path or not error.remedy.startswith("run in the project's"):
            raise
        raise BadInput(f"{child}: {EXTENDS}", f"{path}: {error.problem}", "name a file, relative to this one") from None
    check_plain(content, path)
    if not isinstance(content, dict):
        if child is not None:
            raise BadInput(path, f"holds no parameters, and {child} extends it", "write `section: {key: value}`")
        return content, None
    if EXTENDS not in content:
        return content, None
    own = {key: value for key, value in content.items() if key != EXTENDS}
    parent = content[EXTENDS]
    if not isinstance(parent, str) or not parent.strip():
        problem = "must be the name of one parameters file"
        raise BadInput(f"{path}: {EXTENDS} = {parent!r}", problem, f"write `{EXTENDS}: params.yaml`")
    return own, path.parent / Path(parent).expanduser()


@dataclass(frozen=True)
class _Patch:
    """JSON Merge Patch (RFC 7396), but a null for a key that is not there is refused: it is a slip of the pen."""

    file: Path
    takes_null: Callable[[Key], bool]

    def applied(self, below: object, above: object, key: Key) -> object:
        if not isinstance(above, dict):
            return above
        merged: dict[str, Any] = dict(below) if isinstance(below, dict) else {}
        for name, value in above.items():
            if value is not None or self.takes_null((*key, name)):
                merged[name] = self.applied(merged.get(name), value, (*key, name))
            elif name in merged:
                del merged[name]
            else:
                where = ".".join(map(str, (*key, name)))
                near = difflib.get_close_matches(name, merged, 1)
                hint = f"did you mean `{near[0]}`? " if near else ""
                problem = "there is no such key to remove"
                raise BadInput(f"{self.file}: {where} = null", problem, f"{hint}remove the line")
        return merged


def _has(content: object, key: Iterable[str | int]) -> bool:
    for part in key:
        if isinstance(content, dict) and part in content:
            content = content[str(part)]
        elif isinstance(content, list) and isinstance(part, int) and part < len(content):
            content = content[part]
        else:
            return False
    return True
