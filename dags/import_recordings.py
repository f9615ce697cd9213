"""Bring a folder of recordings in; if it held new ones, `retrain` runs."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import Asset, Param, dag, task
from airflow.sdk.exceptions import AirflowSkipException

sys.path.insert(0, str(Path(__file__).resolve().parent))  # wherever the DAGs are linked to
from snn_fusion_tasks import CLI, COMMAND, DEFAULTS, MACROS, PARAMS_FILE, REQUEST_ID, tell_of_failure

NEW_RECORDINGS = Asset("snn_fusion_recordings")  # dags/retrain.py is scheduled by it


@dag(
    schedule=None,
    catchup=False,
    max_active_runs=1,
    description="Bring a folder of recordings in; new ones that it would use start retrain",
    # Of its tasks, not of the run: `airflow dags test` cannot call a run's where a parameter has no default.
    default_args=DEFAULTS | {"on_failure_callback": tell_of_failure},
    user_defined_macros=MACROS,
    params={
        "folder": Param(
            type="string",
            minLength=1,
            title="Folder",
            description="A folder with a recordings.csv or with the layout of the public sets (docs/recordings.md)",
        ),
        "params_file": Param("params.yaml", type="string", minLength=1, title="Parameters file"),
        "request_id": REQUEST_ID,
    },
    tags=["snn-fusion"],
    doc_md="""
### Import recordings

Copies the recordings of a folder into the workspace, damaged ones set aside with their reasons. If any of them is
new and a run with these parameters would use it (`data.sources` names its source, or has a pattern for it (`lab-*`),
`data.most_per_class` takes it, and the network has a branch for its sense), the asset `snn_fusion_recordings` is
updated, which starts `retrain`.
""",
)
def import_recordings():
    import_folder = BashOperator(
        task_id="import_folder",
        bash_command=f'{CLI} import --from "$FOLDER" --quarantine --params="$PARAMS_FILE" --json',
        env=PARAMS_FILE | {"FOLDER": "{{ params.folder }}"},
        execution_timeout=timedelta(hours=1),
        **COMMAND,
        doc_md="Copy the folder's recordings in: `snn-fusion import --from FOLDER --quarantine`. Safe to run again.",
    )

    @task(outlets=[NEW_RECORDINGS], retries=0, doc_md="Update the asset, or skip when a run would use nothing new.")
    def announce(result: str, outlet_events=None, params=None) -> int:
        found = json.loads(result)
        used = found["new_in_data_sources"]
        if not found["new_recordings"]:
            raise AirflowSkipException("no new recordings")
        if not used:
            why = "by data.sources, data.most_per_class and network.branch a run uses none of the new recordings"
            raise AirflowSkipException(f"{why}: {found['new']}")
        outlet_events[NEW_RECORDINGS].extra = {
            "sources": used,
            "new_recordings": sum(used.values()),
            "params_file": params["params_file"],  # retrain takes the same
        }
        return sum(used.values())

    announce(import_folder.output)


import_recordings()
