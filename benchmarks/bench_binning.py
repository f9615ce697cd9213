"""Event binning, ours against tonic's ToFrame: the same million events, the same counts, timed in turns.

CPU time, both on one core, so that other work on the machine counts for neither. A turn is several calls in a row, as
in a loop over recordings; the first two of each turn, which find the other's data in the cache, are not timed. Runs in
.venv-bench (see run.py). Exits 1 if the counts differ or the ratio is below 20 on the sensor of the
project's own recordings.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tonic

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))
from snn_fusion.data.recording import EVENT
from snn_fusion.encoding.events import bin_events

COUNT = 1_000_000
STEPS, STEP_US = 50, 20_000
ROUNDS, CALLS = 7, 5
WANTED = 20.0
SENSORS = {"N-MNIST": (34, 34), "DVS128": (128, 128), "DAVIS346": (346, 260)}

Frames = npt.NDArray[np.generic]


def some_events(width: int, height: int) -> npt.NDArray[np.void]:
    """Uniform over pixels and time; the first and last time pin tonic's windows to ours."""
    rng = np.random.default_rng(0)
    events = np.empty(COUNT, EVENT)
    events["t"] = np.sort(rng.integers(0, STEPS * STEP_US, COUNT))
    events["t"][0], events["t"][-1] = 0, STEPS * STEP_US - 1
    events["x"], events["y"] = rng.integers(0, width, COUNT), rng.integers(0, height, COUNT)
    events["p"] = rng.integers(0, 2, COUNT)
    return events


def peers(width: int, height: int) -> dict[str, Callable[[npt.NDArray[np.void]], Frames]]:
    """ToFrame's two ways to the same frames."""
    size = (width, height, 2)
    return {
        "tonic, time_window": tonic.transforms.ToFrame(size, time_window=STEP_US, include_incomplete=True),
        "tonic, n_time_bins": tonic.transforms.ToFrame(size, n_time_bins=STEPS),
    }


def seconds(work: Callable[[], Frames]) -> list[float]:
    """CPU time of each of CALLS calls in a row, after two that bring the events into the cache."""
    taken = []
    for _ in range(2 + CALLS):
        started = time.process_time()
        work()
        taken.append(time.process_time() - started)
    return taken[2:]


def compare(name: str, width: int, height: int) -> float:
    """How many times faster than the faster of ToFrame's settings that give the same counts; 0 if none does."""
    events = some_events(width, height)

    def ours() -> Frames:
        return bin_events(events, width, height, STEP_US, STEPS)

    counts = ours()  # compiles
    rivals = peers(width, height)
    equal = {peer: np.array_equal(counts, transform(events)) for peer, transform in rivals.items()}
    times: dict[str, list[float]] = {"ours": [], **{peer: [] for peer in rivals}}
    for _ in range(ROUNDS):
        times["ours"] += seconds(ours)
        for peer, transform in rivals.items():
            times[peer] += seconds(lambda transform=transform: transform(events))
    medians = {one: statistics.median(all_of_one) * 1e3 for one, all_of_one in times.items()}
    comparable = [peer for peer in rivals if equal[peer]]
    if not comparable:
        print(f"  {name}: no setting of ToFrame gives the same counts")
        return 0.0
    best = min(comparable, key=medians.__getitem__)
    ratio = medians[best] / medians["ours"]
    for peer in rivals:
        note = "equal counts" if equal[peer] else "other counts (its windows end elsewhere)"
        print(f"  {name:10}{width:4} x {height:<4}{peer:22}{medians[peer]:8.1f} ms   {note}")
    print(f"  {name:10}{width:4} x {height:<4}{'snn-fusion':22}{medians['ours']:8.1f} ms   {ratio:.1f} x faster")
    return ratio


def main() -> int:
    print(
        f"binning {COUNT:,} events into {STEPS} steps, median CPU time of a call, {ROUNDS} turns of {CALLS} calls each"
    )
    ratios = {name: compare(name, *size) for name, size in SENSORS.items()}
    reached = ratios["N-MNIST"] >= WANTED
    print(f"  at least {WANTED:.0f} x on N-MNIST's sensor, with equal counts: {'yes' if reached else 'NO'}")
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
