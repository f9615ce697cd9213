"""`python -m engine`: all workloads in all libraries, the tables, and with `--write` the documentation's."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from engine import compare, document, extras, machine
from engine.driver import LIBRARIES, OURS, ROOT, Worker, WorkerFailed, environment, workers
from engine.report import Report, show
from engine.workloads import TABLE, make_problem

console = Console(width=None if sys.stdout.isatty() else 140)
status = Console(stderr=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks/run.py", description=__doc__)
    parser.add_argument("--workload", action="append", choices=[w.name for w in TABLE], help="only this; repeatable")
    parser.add_argument("--library", action="append", choices=list(LIBRARIES), help="only this one; repeatable")
    parser.add_argument("--rounds", type=int, default=7, help="interleaved rounds (7)")
    parser.add_argument("--batches", type=int, default=6, help="measured batches of the epoch (6)")
    parser.add_argument(
        "--extra", action="append", choices=["epoch", "scaling", "memory", "cost", "none"], help="only these extras"
    )
    parser.add_argument("--write", action="store_true", help="write docs/engine.md's section and the pictures")
    return parser.parse_args()


def about(teams: dict[str, Worker], report: Report) -> dict[str, str]:
    """Variants of every library that can be imported; says which cannot."""
    variants: dict[str, str] = {}
    for library, team in teams.items():
        try:
            answer = team.ask("about")
        except WorkerFailed as error:
            status.print(f"bench: left out, {error}", style="red")
            continue
        report.versions.append(answer["about"])
        report.differs |= answer["differs"]
        variants |= dict.fromkeys(answer["variants"], library)
    return variants


def measure_table(report: Report, asked: argparse.Namespace, folder: Path) -> None:
    chosen = [w for w in TABLE if not asked.workload or w.name in asked.workload]
    with workers(asked.library or list(LIBRARIES)) as teams, status.status("starting the libraries") as line:
        variants = about(teams, report)
        for work in chosen:
            line.update(f"{work.name}: preparing")
            report.rates[work.name] = compare.hidden_rate(work)
            found = None
            for done, found in enumerate(  # noqa: B007
                compare.compare(make_problem(work), teams, variants, asked.rounds, folder), 1
            ):
                line.update(f"{work.name}: round {done} of {asked.rounds}")
            if found:
                report.comparisons.append(found)


def measure_epoch(batches: int, folder: Path) -> dict[str, object]:
    """On the workspace's spikes, or, where there are none, on those of the recordings that can be imported."""
    params, ws = ROOT / "params.yaml", ROOT / "workspace"
    env = environment()
    if not (ws / "encoded" / "audio.arrow").exists():
        ws = folder / "workspace"
        env["SNN_FUSION_HOME"] = str(ws)
        for stage in ("import", "validate", "encode"):
            run = [str(ROOT / ".venv" / "bin" / "snn-fusion"), stage, "--params", str(params)]
            subprocess.run(run, env=env, check=True, stdout=subprocess.DEVNULL)
    command = [sys.executable, "-m", "engine.epoch", str(ws), str(params), str(batches)]
    found: dict[str, object] = json.loads(subprocess.run(command, env=env, check=True, stdout=subprocess.PIPE).stdout)
    return found


def measure_extras(report: Report, asked: argparse.Namespace, folder: Path) -> None:
    every = ["epoch", "scaling", "memory", "cost"]
    wanted = asked.extra or ([] if asked.workload or asked.library else every)
    for name in wanted:
        with status.status(f"measuring {name}"):
            try:
                if name == "epoch":
                    report.epoch = measure_epoch(asked.batches, folder)
                elif name == "scaling":
                    report.scaling = extras.scaling(asked.rounds, folder)
                elif name == "memory":
                    report.memory = extras.memory(folder)
                elif name == "cost":
                    report.cost = extras.cost(max(3, asked.rounds // 2), folder)
            except (WorkerFailed, subprocess.CalledProcessError) as error:
                status.print(f"bench: no {name}: {error}", style="red")


def main() -> int:
    asked = arguments()
    report = Report(machine.describe(), [], asked.rounds, {}, {})
    others = machine.Others()
    with tempfile.TemporaryDirectory() as name:
        measure_table(report, asked, Path(name))
        measure_extras(report, asked, Path(name))
    report.others = others.share()
    show(report, console)
    if asked.write:
        for path in document.write(report, ROOT / "docs"):
            console.print(f"wrote {path.relative_to(ROOT)}")
    return 0 if trustworthy(report) else 1


def trustworthy(report: Report) -> bool:
    """Ours ran wherever it was asked to, with snnTorch's results. A missed ratio is shown and is no error."""
    return not any(
        OURS in c.failed or (OURS in c.agreement and not c.agreement[OURS].equal) for c in report.comparisons
    )


if __name__ == "__main__":
    sys.exit(main())
