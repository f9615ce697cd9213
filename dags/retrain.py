"""Retrain the network every night, and whenever new recordings came in: one task a stage, each a CLI call."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import (
    Asset,
    AssetOrTimeSchedule,
    CronTriggerTimetable,
    Param,
    RetryDecision,
    RetryPolicy,
    chain,
    dag,
    task,
)

CHECKOUT = Path(__file__).resolve().parent.parent
NIGHTLY = CronTriggerTimetable("0 2 * * *", timezone="UTC")
NEW_RECORDINGS = Asset("snn_fusion_recordings")  # dags/import_recordings.py says when there are some

RETRIES = int(os.environ.get("SNN_FUSION_RETRIES", "2"))  # a person who waits at a terminal wants 0

# Command, time limit in minutes, what the task does.
STAGES = (
    (
        "import --quarantine --json",
        60,
        "Bring every source of params.yaml in that is not there yet. Damaged files are set aside with a reason.",
    ),
    (
        "validate --json",
        15,
        "Check each recording and the data set as a whole, apply the split, join the senses by label. Fails when "
        "more recordings are bad than `validation.max_bad_share` allows.",
    ),
    ("encode --json", 30, "Turn the validated recordings into spikes; what is in the cache is not encoded again."),
    ("train --json", 240, "Train the network. After a kill it goes on from the last checkpoint, to the same weights."),
    ("evaluate", 60, "Measure each sense alone and fused, clean and in the hard conditions; writes report.html."),
    ("register --json", 15, "Log the run to MLflow and register its network as `challenger`."),
    (
        "promote --json",
        30,
        "Compare challenger and champion on today's test split; promote, or record why not. A refusal is a result, "
        "not a failure.",
    ),
    ("push --json", 30, "Version data and checkpoints with DVC and push them to the remote."),
)


class StopOnBadInput(RetryPolicy):
    """The CLI exits with 2 on bad input or configuration, which no retry can mend."""

    def evaluate(self, exception, try_number, max_tries, context=None):
        if str(exception).endswith("exit code 2."):
            return RetryDecision.fail("bad input or configuration: mend what the log names, then clear the task")
        return RetryDecision.default()


def stage(command: str, minutes: int, what: str) -> BashOperator:
    """A task that runs one command of the CLI; it may run twice, also at once: the workspace has one writer.

    The parameter travels in the environment, never in the text of the command, so it cannot become code.
    """
    return BashOperator(
        task_id=command.split()[0],
        bash_command=f'exec "${{SNN_FUSION_CLI:-.venv/bin/snn-fusion}}" {command} --params="$PARAMS_FILE"',
        env={"PARAMS_FILE": "{{ params.params_file }}"},
        append_env=True,
        cwd=str(CHECKOUT),
        skip_on_exit_code=None,  # a stage is done or failed, never skipped
        execution_timeout=timedelta(minutes=minutes),
        doc_md=f"{what}\n\nThe same by hand: `snn-fusion {command.removesuffix(' --json')}`",
    )


@dag(
    schedule=AssetOrTimeSchedule(timetable=NIGHTLY, assets=[NEW_RECORDINGS]),
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    description="Recordings in, validated, encoded, trained, evaluated, registered, promoted if better, pushed",
    params={
        "params_file": Param(
            "params.yaml",
            type="string",
            minLength=1,
            title="Parameters file",
            description="Path of the parameters to train with, from the checkout's folder (docs/params.md)",
        )
    },
    default_args={
        "owner": "snn-fusion",
        "retries": RETRIES,
        "retry_delay": timedelta(minutes=1),
        "retry_exponential_backoff": 4.0,
        "max_retry_delay": timedelta(minutes=30),
        "retry_policy": StopOnBadInput(),
    },
    tags=["snn-fusion"],
    doc_md="""
### Retrain

Recordings in, validated, encoded, trained, evaluated, registered, promoted if better, pushed.

Runs every night and after `import_recordings` brought something new. Each task calls the command line that a person
would use, with the same files below `SNN_FUSION_HOME`, and does nothing when its inputs have not changed: clear any
task and run it again. What came out: `evaluated/report.html` in the workspace, and the run in MLflow.
""",
)
def retrain():
    @task(trigger_rule="all_done", retries=0, doc_md="Fails the run unless every stage succeeded.")
    def gate(ti=None, dag_run=None):
        states = ti.get_task_states(dag_id=dag_run.dag_id, run_ids=[dag_run.run_id])[dag_run.run_id]
        states.pop(ti.task_id, None)
        missing = {s[0].split()[0] for s in STAGES} - states.keys()
        unfinished = {name: state for name, state in states.items() if state != "success"} | dict.fromkeys(missing)
        if unfinished:
            raise RuntimeError(f"not every stage succeeded: {unfinished}")

    stages = [stage(*one) for one in STAGES]
    chain(*stages)
    stages >> gate()


retrain()
