"""Search better parameters: one mapped task a trial, all sharing one study, each a CLI call."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import Param, dag, task

sys.path.insert(0, str(Path(__file__).resolve().parent))  # wherever the DAGs are linked to
import snn_fusion_tasks
from snn_fusion_tasks import COMMAND, DEFAULTS, MACROS, PARAMS_FILE, REQUEST_ID, tell_of_failure

CLI = f"{snn_fusion_tasks.CLI} search"
COMMON = {"env": PARAMS_FILE | {"TRIALS": "{{ params.trials or '' }}"}, **COMMAND}


def slots(output: str) -> list[int]:
    """The trials' numbers, from the last line that `plan` prints: what the trials are mapped over."""
    return json.loads(output)["slots"]


@dag(
    schedule=None,
    catchup=False,
    max_active_runs=1,
    description="Hyper-parameter search: a plan, a mapped task a trial, the best one's parameters",
    params={
        "params_file": Param(
            "params.yaml",
            type="string",
            minLength=1,
            title="Parameters file",
            description="Path of the parameters to start from, from the checkout's folder (docs/params.md)",
        ),
        "trials": Param(
            None,
            type=["integer", "null"],
            minimum=1,
            maximum=1000,
            title="Trials",
            description="How many; left empty, `search.trials` of the parameters file",
        ),
        "request_id": REQUEST_ID,
    },
    default_args=DEFAULTS,
    on_failure_callback=tell_of_failure,
    user_defined_macros=MACROS,
    tags=["snn-fusion"],
    doc_md="""
### Search

Plans a study for today's encoded recordings, runs each of its trials as a task of its own, and writes the best
trial's parameters to `search/best.yaml` in the workspace. Trials share one storage (docs/search.md) and stop early when
they are hopeless.

Clear any task and run it again: finished trials stay what they are, a killed one goes on. Each trial is a run in
MLflow, below the study's.
""",
)
def search():
    plan = BashOperator(
        task_id="plan",
        bash_command=f'{CLI} plan --json --params="$PARAMS_FILE" ${{TRIALS:+"--trials=$TRIALS"}}',
        output_processor=slots,
        execution_timeout=timedelta(minutes=15),
        doc_md="Make the study, or take it up again.\n\nThe same by hand: `snn-fusion search plan`",
        **COMMON,
    )

    @task.bash(
        execution_timeout=timedelta(hours=4),
        map_index_template="trial {{ task.op_kwargs['slot'] }}",
        doc_md="Train one trial to its end, or until it is pruned. After a kill it goes on from the last epoch. A "
        "training that fails (not finite, a dead layer) is a result, and no failure of the task.\n\n"
        "The same by hand: `snn-fusion search trial --slot N`",
        **COMMON,
    )
    def trial(slot):
        return f'{CLI} trial --slot {int(slot)} --json --params="$PARAMS_FILE"'

    # Whatever became of single trials: the storage knows of each, while results of mapped tasks leave failed ones out.
    best = BashOperator(
        task_id="best",
        trigger_rule="all_done_min_one_success",
        bash_command=f'{CLI} best --json --params="$PARAMS_FILE"',
        execution_timeout=timedelta(minutes=15),
        doc_md="Write the best trial's parameters. Fails when too many trials failed or are not finished "
        "(`search.max_failed_share`).\n\nThe same by hand: `snn-fusion search best`",
        **COMMON,
    )

    @task(trigger_rule="all_done", retries=0, doc_md="Fails the run unless there is a plan and a best trial of it.")
    def gate(ti=None, dag_run=None):
        states = ti.get_task_states(dag_id=dag_run.dag_id, run_ids=[dag_run.run_id])[dag_run.run_id]
        states.pop(ti.task_id, None)
        failed = {name: state for name, state in states.items() if state != "success"}
        if {name: states.get(name) for name in ("plan", "best")} != {"plan": "success", "best": "success"}:
            raise RuntimeError(f"no plan, or no best trial of it; not succeeded: {failed}")
        if failed:
            print(f"trials that did not succeed, few enough to go on: {failed}")  # noqa: T201 - the task's log

    trial.expand(slot=plan.output) >> best >> gate()


search()
