"""Bring a folder of recordings in; if it held new ones, `retrain` runs."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import Asset, Param, dag, task
from airflow.sdk.exceptions import AirflowSkipException

CHECKOUT = Path(__file__).resolve().parent.parent
NEW_RECORDINGS = Asset("snn_fusion_recordings")  # dags/retrain.py is scheduled by it


@dag(
    schedule=None,
    catchup=False,
    max_active_runs=1,
    description="Bring a folder of recordings in; new ones start retrain",
    default_args={"owner": "snn-fusion"},
    params={
        "folder": Param(
            type="string",
            minLength=1,
            title="Folder",
            description="A folder with a recordings.csv or with the layout of the public sets (docs/recordings.md)",
        ),
        "params_file": Param("params.yaml", type="string", minLength=1, title="Parameters file"),
    },
    tags=["snn-fusion"],
    doc_md="""
### Import recordings

Copies the recordings of a folder into the workspace, damaged ones set aside with their reasons. If any of them is
new, the asset `snn_fusion_recordings` is updated, which starts `retrain`. Name the source in `params.yaml`,
`data.sources`, to train on it.
""",
)
def import_recordings():
    import_folder = BashOperator(
        task_id="import_folder",
        bash_command='exec "${SNN_FUSION_CLI:-.venv/bin/snn-fusion}" import --from "$FOLDER" --quarantine '
        '--params="$PARAMS_FILE" --json',
        # In the environment, never in the text of the command: a folder's name cannot become code.
        env={"FOLDER": "{{ params.folder }}", "PARAMS_FILE": "{{ params.params_file }}"},
        append_env=True,
        cwd=str(CHECKOUT),
        skip_on_exit_code=None,
        execution_timeout=timedelta(hours=1),
        retries=2,
        retry_delay=timedelta(minutes=1),
        retry_exponential_backoff=4.0,
        doc_md="Copy the folder's recordings in: `snn-fusion import --from FOLDER --quarantine`. Safe to run again.",
    )

    @task(outlets=[NEW_RECORDINGS], retries=0, doc_md="Update the asset, or skip when nothing was new.")
    def announce(result: str) -> int:
        new = json.loads(result)["new_recordings"]
        if not new:
            raise AirflowSkipException("no new recordings")
        return new

    announce(import_folder.output)


import_recordings()
