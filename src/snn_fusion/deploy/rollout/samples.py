"""Runs inside a container that has the workspace: prints test recordings as [label, recording], as JSON."""

import json
import sys

from snn_fusion.benchmark.stage import split_rows
from snn_fusion.config import load_params
from snn_fusion.errors import BadInput
from snn_fusion.registry.models import resolve_model
from snn_fusion.serving.sample import sample
from snn_fusion.workspace import Workspace, project_root

MOST = 10  # labels
workspace, params = Workspace.default(), load_params(project_root() / "params.yaml")
graph = str(resolve_model(params, workspace, None))  # of the champion, looked up once
recordings = []
for label in sorted({row.label for row in split_rows(workspace)})[:MOST]:
    for senses in ([], ["audio"], ["events"], ["imu"]):  # none: all that the network has
        try:
            recordings.append([label, sample(workspace, senses, label, model=graph, params=params)])
        except BadInput:
            continue  # a network without this sense, or no such recording
sys.stdout.write(json.dumps(recordings))
