"""docker/logging/schema.json and the index template, as the tests hold real lines against them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

from tests.deploy.logstash import parse, replay
from tests.deploy.monitoring import ROOT

LOGGING = ROOT / "docker" / "logging"
SCHEMA = json.loads((LOGGING / "schema.json").read_text())
MAPPING: dict[str, dict[str, Any]] = json.loads((LOGGING / "template.json").read_text())["template"]["mappings"][
    "properties"
]
FILTER = parse(LOGGING / "logstash.conf")["filter"]
FITS: dict[str, Any] = {
    "keyword": lambda value: all(isinstance(one, str) for one in (value if isinstance(value, list) else [value])),
    "text": lambda value: isinstance(value, str),
    "long": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "double": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "flattened": lambda value: all(isinstance(one, dict) for one in (value if isinstance(value, list) else [value])),
    "date": lambda value: bool(datetime.fromisoformat(value)),
}


def problems(line: Mapping[str, Any], strict: bool = True) -> list[str]:
    """What is wrong with a line by the schema; `strict`: also fields that it does not know."""
    validator = Draft202012Validator(SCHEMA, format_checker=FormatChecker())
    found = [f"{'.'.join(map(str, one.path))}: {one.message}" for one in validator.iter_errors(line)]
    return found + (
        [f"{name}: not in the schema" for name in line if name not in SCHEMA["properties"]] if strict else []
    )


def stored(text: str, service: str) -> dict[str, Any]:
    """What is stored of a line that this service wrote: what Filebeat makes of it, after Logstash's filter."""
    labels = {"com.docker.compose.project": "snn-fusion", "com.docker.compose.service": service}
    event = {"message": text, "@timestamp": "2026-01-31T02:00:00+00:00", "docker": {"attrs": labels}}
    return replay(FILTER, event)


def unfit(event: Mapping[str, Any]) -> list[str]:
    """Fields that the index could not store as what the mapping says they are."""
    return [
        f"{name}: {value!r} is no {MAPPING[name]['type']}"
        for name, value in event.items()
        if name in MAPPING and value is not None and not FITS[MAPPING[name]["type"]](value)
    ]
