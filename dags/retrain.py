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
    task_group,
)

CHECKOUT = Path(__file__).resolve().parent.parent
NIGHTLY = CronTriggerTimetable("0 2 * * *", timezone="UTC")
NEW_RECORDINGS = Asset("snn_fusion_recordings")  # dags/import_recordings.py says when there are some

RETRIES = int(os.environ.get("SNN_FUSION_RETRIES", "2"))  # a person who waits at a terminal wants 0

TARGETS = ("loihi2", "akida", "akida2", "spinnaker")  # the chips; the steps of each run apart from the others'

# Command, time limit in minutes, what the task does.
NETWORK = (
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
    (
        "speakers --json",
        720,
        "Train a network without each speaker in turn, for the chips to be tested with. With the parameter `speakers` "
        "off, that condition is left out, and table and report say so.",
    ),
)
CHIP = (
    (
        "tune",
        60,
        "Fine-tune the network in the chip's own arithmetic; what loses against the float network is dropped.",
    ),
    (
        "compile",
        60,
        "Lower it to the chip's whole numbers, and hold these to the vendor's own tool. Fails on a mismatch.",
    ),
    (
        "benchmark",
        60,
        "Run the compiled network on the test split in every condition, and on speakers that were left out, beside the "
        "float network.",
    ),
)
RELEASE = (
    (
        "compare --json",
        15,
        "Put the chips side by side: the fidelity gate's verdict, and the report's page of chips.",
    ),
    (
        "register --json",
        15,
        "Log the run to MLflow and register its network as `challenger`, if the fidelity gate lets it.",
    ),
    (
        "promote --json",
        30,
        "Compare challenger and champion on today's test split; promote, or record why not. A refusal is a result, "
        "not a failure.",
    ),
    ("push --json", 30, "Version data and checkpoints with DVC and push them to the remote."),
    (
        "package --json",
        15,
        "Build the Bento of the champion, which `bentoml serve` runs anywhere. Does nothing if that one is there.",
    ),
)


class StopOnBadInput(RetryPolicy):
    """The CLI exits with 2 on bad input or configuration, which no retry can mend."""

    def evaluate(self, exception, try_number, max_tries, context=None):
        if str(exception).endswith("exit code 2."):
            return RetryDecision.fail("bad input or configuration: mend what the log names, then clear the task")
        return RetryDecision.default()


def stage(command: str, minutes: int, what: str, target: object = None, **options: object) -> BashOperator:
    """A task that runs one command of the CLI; it may run twice, also at once: the workspace has one writer.

    Parameters travel in the environment, never in the text of the command, so they cannot become code.
    """
    chip = ' --target="$TARGET" --json' if target else ""
    skip = " ${SKIP_SPEAKERS:+--skip}" if command.startswith("speakers") else ""
    return BashOperator(
        task_id=command.split()[0],
        bash_command=f'exec "${{SNN_FUSION_CLI:-.venv/bin/snn-fusion}}" {command}{chip}{skip} --params="$PARAMS_FILE"',
        env={"PARAMS_FILE": "{{ params.params_file }}"}
        | ({"TARGET": target} if target else {})
        | ({"SKIP_SPEAKERS": "{{ '' if params.speakers else 'yes' }}"} if skip else {}),
        append_env=True,
        cwd=str(CHECKOUT),
        skip_on_exit_code=None,  # a stage is done or failed, never skipped
        execution_timeout=timedelta(minutes=minutes),
        doc_md=f"{what}\n\nThe same by hand: `snn-fusion {command.removesuffix(' --json')}`",
        **options,
    )


@dag(
    schedule=AssetOrTimeSchedule(timetable=NIGHTLY, assets=[NEW_RECORDINGS]),
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    description="Recordings in, trained, evaluated, run on each chip, registered, promoted if better, pushed, packaged",
    params={
        "params_file": Param(
            "params.yaml",
            type="string",
            minLength=1,
            title="Parameters file",
            description="Path of the parameters to train with, from the checkout's folder (docs/params.md)",
        ),
        "speakers": Param(
            True,
            type="boolean",
            title="Leave each speaker out",
            description="Train a network without each speaker in turn, and test the chips with it (docs/targets.md)",
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
### Retrain

Recordings in, validated, encoded, trained, evaluated, run on each chip, registered, promoted if better, pushed, and the
champion packaged.

Runs every night and after `import_recordings` brought something new. Each task calls the command line that a person
would use, with the same files below `SNN_FUSION_HOME`, and does nothing when its inputs have not changed: clear any
task and run it again. What came out: `compared/report.html` in the workspace, and the run in MLflow.
""",
)
def retrain():
    @task_group
    def chip(target):
        """One chip, whatever becomes of the others."""
        chain(*(stage(*one, target=target) for one in CHIP))

    @task(trigger_rule="all_done", retries=0, doc_md="Fails the run unless every stage succeeded.")
    def gate(ti=None, dag_run=None):
        states = ti.get_task_states(dag_id=dag_run.dag_id, run_ids=[dag_run.run_id])[dag_run.run_id]
        states.pop(ti.task_id, None)
        each = {f"chip.{one[0]}_{i}" for one in CHIP for i in range(len(TARGETS))}
        missing = {one[0].split()[0] for one in NETWORK + RELEASE} | each
        unfinished = {name: state for name, state in states.items() if state != "success"}
        unfinished |= dict.fromkeys(missing - states.keys())
        if unfinished:
            raise RuntimeError(f"not every stage succeeded: {unfinished}")

    network = [stage(*one) for one in NETWORK]
    chips = chip.expand(target=list(TARGETS))
    # Compared is what there is: a chip that failed stops neither the others nor the comparison, only the registration.
    compare = stage(*RELEASE[0], trigger_rule="all_done_min_one_success")
    release = [compare, *(stage(*one) for one in RELEASE[1:])]
    chain(*network, chips, *release)
    network[-1] >> compare
    [*network, chips, *release] >> gate()


retrain()
