"""Search better parameters: one mapped task a trial, all sharing one study, each a CLI call."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from pathlib import Path

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import Param, RetryDecision, RetryPolicy, dag, task

CHECKOUT = Path(__file__).resolve().parent.parent
RETRIES = int(os.environ.get("SNN_FUSION_RETRIES", "2"))  # a person who waits at a terminal wants 0
CLI = 'exec "${SNN_FUSION_CLI:-.venv/bin/snn-fusion}" search'


class StopOnBadInput(RetryPolicy):
    """The CLI exits with 2 on bad input or configuration, which no retry can mend."""

    def evaluate(self, exception, try_number, max_tries, context=None):
        if str(exception).endswith("exit code 2."):
            return RetryDecision.fail("bad input or configuration: mend what the log names, then clear the task")
        return RetryDecision.default()


# Parameters travel in the environment, never in the text of a command, so they cannot become code.
COMMON = {
    "env": {"PARAMS_FILE": "{{ params.params_file }}", "TRIALS": "{{ params.trials or '' }}"},
    "append_env": True,
    "cwd": str(CHECKOUT),
    "skip_on_exit_code": None,  # a step is done or failed, never skipped
}


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
