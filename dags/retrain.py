"""Retrain the network every night, and whenever new recordings came in: one task a stage, each a CLI call."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from pathlib import Path

from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import Asset, AssetOrTimeSchedule, CronTriggerTimetable, Param, chain, dag, task, task_group

sys.path.insert(0, str(Path(__file__).resolve().parent))  # wherever the DAGs are linked to
from snn_fusion_tasks import CLI, COMMAND, DEFAULTS, MACROS, PARAMS_FILE, REQUEST_ID, skip_unavailable, tell_of_failure

NIGHTLY = CronTriggerTimetable("0 2 * * *", timezone="UTC")
NEW_RECORDINGS = Asset("snn_fusion_recordings")  # dags/import_recordings.py says when there are some

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
    (
        "package --json",
        15,
        "Build the Bento of the champion, which `bentoml serve` runs anywhere. Does nothing if that one is there.",
    ),
    # Last, so that the remote has all that the run made.
    ("push --json", 30, "Version data, checkpoints, registry and Bentos with DVC and push them to the remote."),
)


def stage(command: str, minutes: int, what: str, target: object = None, **options: object) -> BashOperator:
    """A task that runs one command of the CLI; it may run twice, also at once: the workspace has one writer.

    With a `target` it is skipped where the chip's SDK is not installed, and called by the chip's name.
    """
    by_hand, env = command.removesuffix(" --json"), dict(PARAMS_FILE)
    if target:
        command += ' --target="$TARGET" --json'
        env["TARGET"] = target
        options |= {"output_processor": skip_unavailable, "map_index_template": "{{ task.env['TARGET'] }}"}
    if command.startswith("speakers"):
        command += " ${SKIP_SPEAKERS:+--skip}"
        env["SKIP_SPEAKERS"] = "{{ '' if params.speakers else 'yes' }}"
    return BashOperator(
        task_id=command.split()[0],
        bash_command=f'{CLI} {command} --params="$PARAMS_FILE"',
        env=env,
        execution_timeout=timedelta(minutes=minutes),
        doc_md=f"{what}\n\nThe same by hand: `snn-fusion {by_hand}`",
        **COMMAND,
        **options,
    )


@dag(
    schedule=AssetOrTimeSchedule(timetable=NIGHTLY, assets=[NEW_RECORDINGS]),
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    description="Recordings in, trained, evaluated, run on each chip, registered, promoted if better, packaged, pushed",
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
        "request_id": REQUEST_ID,
    },
    default_args=DEFAULTS,
    on_failure_callback=tell_of_failure,
    user_defined_macros=MACROS,
    tags=["snn-fusion"],
    doc_md="""
### Retrain

Recordings in, validated, encoded, trained, evaluated, run on each chip, registered, promoted if better, the champion
packaged, and all of it pushed.

Runs every night and after `import_recordings` brought something new that it uses. Each task calls the command line that
a person would use, with the same files below `SNN_FUSION_HOME`, and does nothing when its inputs have not changed:
clear any task and run it again. What came out: `compared/report.html` in the workspace, and the run in MLflow.
""",
)
def retrain():
    @task_group
    def chip(target):
        """One chip, whatever becomes of the others."""
        chain(*(stage(*one, target=target) for one in CHIP))

    @task(
        trigger_rule="all_done",
        retries=0,
        doc_md="Fails the run unless every stage succeeded; a chip that is not installed may be skipped.",
    )
    def gate(ti=None, dag_run=None):
        states = ti.get_task_states(dag_id=dag_run.dag_id, run_ids=[dag_run.run_id])[dag_run.run_id]
        states.pop(ti.task_id, None)
        each = {f"chip.{one[0]}_{i}" for one in CHIP for i in range(len(TARGETS))}
        missing = {one[0].split()[0] for one in NETWORK + RELEASE} | each
        # A chip whose SDK is not installed is skipped, and compare says so.
        fine = {name: ("success", "skipped") if name in each else ("success",) for name in states}
        unfinished = {name: state for name, state in states.items() if state not in fine[name]}
        unfinished |= dict.fromkeys(missing - states.keys())
        if unfinished:
            raise RuntimeError(f"not every stage succeeded: {unfinished}")

    network = [stage(*one) for one in NETWORK]
    chips = chip.expand(target=list(TARGETS))
    # Compared is what there is: a chip that failed or is left out stops neither the others nor the comparison, only the
    # registration. The rule `all_done_min_one_success` would not do: it skips the task where one chip was skipped.
    ended = EmptyOperator(
        task_id="chips_ended", trigger_rule="all_done", doc_md="Waits until each chip has ended, however it did."
    )
    release = [stage(*one) for one in RELEASE]
    chain(*network, chips, ended, *release)
    network[-1] >> release[0]
    [*network, chips, ended, *release] >> gate()


retrain()
