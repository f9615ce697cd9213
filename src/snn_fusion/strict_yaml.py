"""YAML files of plain values: no key twice, no dates, sets or objects, nothing that contains itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from snn_fusion.errors import BadInput

MOST_VALUES = 100_000  # anchors can make a short file endless
PLAIN = "only plain values are allowed: text, numbers, true and false, lists, mappings"


class _Loader(yaml.SafeLoader):
    """PyYAML lets the last of two equal keys win."""


def _mapping(loader: _Loader, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    first: dict[Any, int] = {}
    for key_node, _ in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge" or not isinstance(key_node, yaml.ScalarNode):
            continue
        key, line = key_node.value, key_node.start_mark.line + 1
        if key in first:
            raise yaml.MarkedYAMLError(problem=f"key `{key}` is there twice, on line {first[key]} and line {line}")
        first[key] = line
    loader.flatten_mapping(node)
    return yaml.SafeLoader.construct_mapping(loader, node, deep=deep)


def _map(loader: _Loader, node: yaml.MappingNode) -> Iterator[dict[Any, Any]]:
    data: dict[Any, Any] = {}
    yield data
    data.update(_mapping(loader, node))


_Loader.add_constructor("tag:yaml.org,2002:map", _map)


def read_yaml(path: Path) -> object:
    """The file's content. Raises BadInput naming the file and, where there is one, line and key."""
    try:
        return yaml.load(path.read_text(), _Loader)  # a SafeLoader
    except OSError as error:
        problem = "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
        raise BadInput(path, problem, "run in the project's folder, or name a file with --params") from None
    except RecursionError:
        raise BadInput(path, "not YAML: nested too deeply") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: of a date or number that there cannot be
        raise BadInput(path, f"not YAML: {error}", "mend the file") from None


def write_yaml(values: BaseModel) -> str:
    """YAML that reads back to the same model, with the keys that it was given and no others."""
    plain = values.model_dump(mode="json", exclude_unset=True)
    return str(yaml.safe_dump(plain, sort_keys=False, default_flow_style=None, width=120))


def check_plain(raw: object, where: object) -> None:
    """Raises BadInput naming file and key of a value that JSON does not know, or that contains itself."""
    left = MOST_VALUES

    def check(value: object, key: str, above: tuple[int, ...]) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise BadInput(where, f"more than {MOST_VALUES:,} values", "write fewer, or do without YAML's anchors")
        if id(value) in above:
            raise BadInput(f"{where}: {key or 'the file'}", "contains itself", "write the value out instead of `*`")
        if isinstance(value, dict):
            for name, inner in value.items():
                if not isinstance(name, str):
                    raise BadInput(f"{where}: {_under(key, name)}", "a key must be text", "put it in quotes")
                check(inner, _under(key, name), (*above, id(value)))
        elif isinstance(value, list):
            for number, inner in enumerate(value):
                check(inner, _under(key, number), (*above, id(value)))
        elif not isinstance(value, str | int | float | None):
            kind = type(value).__name__
            raise BadInput(f"{where}: {key or 'the file'} = {value!s:.80}", f"is a {kind}", PLAIN)

    check(raw, "", ())


def _under(key: str, name: object) -> str:
    return f"{key}.{name}" if key else str(name)
