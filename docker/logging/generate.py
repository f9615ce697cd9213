"""What Elasticsearch and Kibana are told, from schema.json: `.venv/bin/python docker/logging/generate.py`.

template.json (the index template), policy.json (30 days), kibana.ndjson (data view and saved searches).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
STREAM = "logs-snn_fusion-default"
VIEW = "snn-fusion-logs"
POLICY = "snn-fusion-logs"
DAYS = 30
COLUMNS = ("service", "level", "event", "request_id", "stage", "run_id", "status", "ms")
# Title: KQL. Put another value in the place of X.
SEARCHES = {
    "Everything about request X": 'request_id: "X"',
    "Everything about Airflow's run X": 'run_id: "X"',
    "Errors and warnings": "level: (warning or error or critical)",
    "Requests that failed (5xx)": "event: request and status >= 500",
    "Requests that were refused (4xx), and why": "event: request and status >= 400 and status < 500",
    "Slow requests (above 1 s)": "event: request and ms > 1000",
    "nginx asked a second replica": "logger: nginx and upstream_status: *,*",
    "Decisions about models": "promoted: * or stage: (promote or rollback) or event: (promote or rollback)",
    "Stages that failed": "stage: * and exit_code: *",
    "Canary: answers that differ": "agree: false",
}


def field(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The mapping of one property."""
    kinds = schema.get("type", "string")
    kind = next(one for one in ([kinds] if isinstance(kinds, str) else kinds) if one != "null")
    if kind == "array":
        return field(schema["items"])
    if schema.get("format") == "date-time":
        return {"type": "date"}
    types = {"string": "keyword", "integer": "long", "number": "double", "boolean": "boolean", "object": "flattened"}
    return {"type": types[kind]} | ({"ignore_above": 8000} if types[kind] in ("keyword", "flattened") else {})


def template(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Fields that the schema does not know are kept with the line, but not indexed: no line can make new fields."""
    known = {name: field(one) for name, one in schema["properties"].items() if name != "time"}
    known |= {"@timestamp": {"type": "date"}, "event": {"type": "text"}, "tags": {"type": "keyword"}}
    settings = {
        "index.lifecycle.name": POLICY,
        "index.number_of_replicas": 0,  # one node
        "index.mapping.ignore_malformed": True,  # a field of a wrong type costs the field, not the line
    }
    mappings = {"dynamic": False, "properties": known}
    return {
        "index_patterns": [f"{STREAM.rsplit('-', 1)[0]}-*"],
        "priority": 500,
        "data_stream": {},
        "template": {"settings": settings, "mappings": mappings},
    }


def policy() -> dict[str, Any]:
    """A new index a day; each is deleted 30 days after it was closed."""
    hot = {"actions": {"rollover": {"max_age": "1d", "max_primary_shard_size": "5gb"}}}
    delete = {"min_age": f"{DAYS}d", "actions": {"delete": {}}}
    return {"policy": {"phases": {"hot": hot, "delete": delete}}}


def kibana() -> list[dict[str, Any]]:
    """Saved objects: a data view, and a search for each of SEARCHES."""
    view = {"title": f"{STREAM.rsplit('-', 1)[0]}-*", "name": "SNN-Fusion's logs", "timeFieldName": "@timestamp"}
    searches = [_search(number, title, query) for number, (title, query) in enumerate(SEARCHES.items(), 1)]
    return [_saved("index-pattern", VIEW, view, []), *searches]


def _search(number: int, title: str, query: str) -> dict[str, Any]:
    name = "kibanaSavedObjectMeta.searchSourceJSON.index"
    source = {"query": {"query": query, "language": "kuery"}, "filter": [], "indexRefName": name}
    attributes = {
        "title": title,
        "description": "",
        "columns": list(COLUMNS),
        "sort": [["@timestamp", "asc"]],
        "kibanaSavedObjectMeta": {"searchSourceJSON": json.dumps(source)},
    }
    reference = {"name": name, "type": "index-pattern", "id": VIEW}
    return _saved("search", f"{VIEW}-{number}", attributes, [reference])


def _saved(kind: str, name: str, attributes: Mapping[str, Any], references: list[Any]) -> dict[str, Any]:
    """In the form of Kibana 8.8, which later versions take over."""
    made = {"type": kind, "id": name, "attributes": attributes, "references": references}
    return made | {"coreMigrationVersion": "8.8.0", "typeMigrationVersion": "8.0.0"}


def files() -> dict[str, str]:
    """Name and content of each."""
    schema = json.loads((HERE / "schema.json").read_text())
    return {
        "template.json": json.dumps(template(schema), indent=2) + "\n",
        "policy.json": json.dumps(policy(), indent=2) + "\n",
        "kibana.ndjson": "".join(json.dumps(one) + "\n" for one in kibana()),
    }


if __name__ == "__main__":
    for file, content in files().items():
        (HERE / file).write_text(content)
