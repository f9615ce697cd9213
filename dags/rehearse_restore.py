"""Rehearse a restore every week: the newest backup into an empty place, compared with what was noted in it."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from pathlib import Path

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import CronTriggerTimetable, Param, dag

sys.path.insert(0, str(Path(__file__).resolve().parent))  # wherever the DAGs are linked to
from snn_fusion_tasks import CLI, COMMAND, DEFAULTS, MACROS, PARAMS_FILE, tell_of_failure

# Where no backups are set up, the task is skipped; that there are none is what the alert BackupMissing says.
UNSET = """[ -n "$SNN_FUSION_BACKUP_PLACE$SNN_FUSION_BACKUP_PLACE_FILE$SNN_FUSION_BACKUP_BY" ] || {
    echo "skipped: no place of backups is set (docs/backup.md)"; exit 99; }
"""
WEEKLY = CronTriggerTimetable("0 5 * * 0", timezone="UTC")


@dag(
    schedule=WEEKLY,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    description="The newest backup restored into an empty place: same champion, same record, same answers",
    params={
        "params_file": Param(
            "params.yaml",
            type="string",
            minLength=1,
            title="Parameters file",
            description="Path of the parameters that name the registered model, from the checkout's folder",
        ),
    },
    default_args=DEFAULTS,
    on_failure_callback=tell_of_failure,
    user_defined_macros=MACROS,
    tags=["snn-fusion"],
    doc_md="""
### Rehearse a restore

Brings the newest backup back into an empty place and compares it with what was noted when it was made: the champion
with its digests, the record of promotions, the answers to 100 recordings. Then all of it is removed again. How it went
is in `backups/state.json` of the workspace, from which the exporter and its alerts know.

Needs the place of the backups (`SNN_FUSION_BACKUP_PLACE`), or `SNN_FUSION_BACKUP_BY=container`, with which the backup
container does it. A damaged backup fails the run, also where the one before is whole: docs/backup.md says what to do.
""",
)
def rehearse_restore():
    BashOperator(
        task_id="drill",
        bash_command=f'{UNSET}{CLI} drill --params="$PARAMS_FILE" --json',
        env=dict(PARAMS_FILE),
        execution_timeout=timedelta(hours=5),
        doc_md="Restore, compare, remove again.\n\nThe same by hand: `snn-fusion drill`",
        **(COMMAND | {"skip_on_exit_code": 99}),
    )


rehearse_restore()
