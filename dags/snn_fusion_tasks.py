"""What the DAGs share: how a command of the CLI becomes a task, when it is tried again, which parameters there are."""

from __future__ import annotations

import json
import logging
import os
import subprocess
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import Param, RetryDecision, RetryPolicy
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

CHECKOUT = Path(__file__).resolve().parent.parent
CLI = 'exec "${SNN_FUSION_CLI:-.venv/bin/snn-fusion}"'
RETRIES = int(os.environ.get("SNN_FUSION_RETRIES", "2"))  # a person who waits at a terminal wants 0
log = logging.getLogger(__name__)


class StopOnBadInput(RetryPolicy):
    """The CLI exits with 2 on bad input or configuration, which no retry repairs; else after 1, 4, 16 minutes."""

    def evaluate(self, exception, try_number, max_tries, context=None):
        if str(exception).endswith("exit code 2."):
            return RetryDecision.fail("bad input or configuration: correct what the log names, then clear the task")
        earlier = RETRIES - (max_tries - try_number) - 1  # retries, since the run began or the task was cleared
        # Exact, where Airflow's own back-off draws a delay between this and its double.
        return RetryDecision.retry(timedelta(minutes=4.0 ** min(max(earlier, 0), 3)))


DEFAULTS: dict[str, Any] = {
    "owner": "snn-fusion",
    "retries": RETRIES,
    "retry_delay": timedelta(minutes=1),  # where the policy is not asked: the task's process was killed
    "retry_policy": StopOnBadInput(),
}


def known(params: Mapping[str, Any], dag_run: Any, dag: Any) -> Mapping[str, Any]:
    """The run's parameters, for templates. A run with one that the DAG does not have fails in its first task."""
    if unknown := sorted(set(dag_run.conf or {}) - set(dag.params)):
        raise AirflowFailException(
            f"unknown parameters: {', '.join(unknown)}; {dag.dag_id} has {', '.join(dag.params)}"
        )
    return params


def params_file(params: Mapping[str, Any], dag_run: Any, dag: Any, triggering_asset_events: Mapping[Any, Any]) -> str:
    """The run's parameters file: its own parameter, or, where imports started it, what the newest of them names, by
    which it was judged that the run would use the new recordings.
    """
    own = known(params, dag_run, dag)["params_file"]
    events = sorted(
        (event for of in triggering_asset_events.values() for event in of), key=lambda event: event.timestamp
    )
    named = [event.extra["params_file"] for event in events if "params_file" in event.extra]  # not if made by hand
    if len(set(named)) > 1:
        log.warning("imports with %s started this run; it takes the newest one's, %s", ", ".join(named), named[-1])
    return str(named[-1] if named else own)


MACROS = {"params_file": params_file}
# Parameters travel in the environment, never in the text of a command, so they cannot become code.
PARAMS_FILE = {
    "PARAMS_FILE": "{{ params_file(params, dag_run, dag, triggering_asset_events) }}",
    "SNN_FUSION_REQUEST_ID": "{{ params.get('request_id') or '' }}",
    "TRACEPARENT": "{{ (ti.context_carrier or {}).get('traceparent', '') }}",  # the span of the task
}
REQUEST_ID = Param(
    None,
    type=["string", "null"],
    pattern="^[A-Za-z0-9._-]{1,64}$",
    title="Correlation id",
    description="Of the request that starts this run: in the log lines of its stages and in MLflow (docs/logging.md)",
)
COMMAND: dict[str, Any] = {
    "append_env": True,
    "cwd": str(CHECKOUT),
    "skip_on_exit_code": None,  # done or failed; what is skipped says so itself
}


def skip_unavailable(output: str) -> str:
    """The last line that a command printed; skips the task if it says that the chip's SDK is not there."""
    try:
        why = json.loads(output).get("unavailable")
    except (ValueError, AttributeError):
        why = None
    if why:
        raise AirflowSkipException(why)
    return output


def tell_of_failure(context: Any) -> None:
    """Notify people of a failed run, where that is configured. Whatever becomes of it, the run ends as it would."""
    if not any(os.environ.get(f"SNN_FUSION_NOTIFY_{name}") for name in ("WEBHOOK", "WEBHOOK_FILE", "MAIL")):
        return
    dag_id, run_id = context["dag"].dag_id, context["run_id"]
    program = os.environ.get("SNN_FUSION_CLI", ".venv/bin/snn-fusion")
    base = os.environ.get("AIRFLOW__API__BASE_URL", "")
    text = f"{base}/dags/{dag_id}/runs/{run_id}" if base else f"run {run_id}"
    command = [program, "notify", "failed", "--title", f"Airflow: {dag_id} failed", "--text", text]
    known = {"AIRFLOW_CTX_DAG_ID": dag_id, "AIRFLOW_CTX_DAG_RUN_ID": run_id}
    try:
        subprocess.run(command, cwd=CHECKOUT, env=os.environ | known, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("nobody was told of the failed run: %s", type(error).__name__)
