"""How fast this machine is, term by term, from what its own runs took: a factor for each term of a phase, by which the
seconds of a device's rates are multiplied.

It is the most likely one under a simple model of machines. The logarithm of a factor is a sum of what the terms of a
group share, of what those of one phase share, and of the term's own share, each normal around 0: so one film already
says something of phases that it hardly had, and films of different sizes tell the terms of a phase apart. A run is as
reliable as its age, its length and its model make it, and one that is far from all others counts little.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sora.jobs.own_runs import Phases, Run

GROUPS = {"pixels": "host"} | dict.fromkeys(("fixed", "calls"), "overhead")
GROUPS |= dict.fromkeys(("weights", "disk", "transfer", "exchange"), "copies") | {"interpolation": "another program"}
"""What takes a term's seconds, by its name; arithmetic, where it is none of these."""
SHARED = {"arithmetic": 0.7, "host": 0.7, "copies": 0.0, "overhead": 0.0, "another program": 0.0}
OF_PHASE = 0.25
OF_TERM = {"arithmetic": 0.3, "host": 0.3, "copies": 1.0, "overhead": 0.7, "another program": 0.5}
"""Standard deviations of the logarithm of a factor: of what the terms of a group share, those of one phase in it, and
of each term's own. Copies, overheads and other programs, which work at the same time, say nothing of one another."""
NOISE, BUSY, OF_OTHERS, AGEING = 0.1, 0.35, 0.35, 0.03
"""Standard deviations of the logarithm of a run's seconds: of the newest one, on a quiet machine and on a busy one; of
those of another model; and what each later run adds to those before it."""
CLOCK = 0.01  # seconds; half of them may be chance, and shorter phases are taken for so long
OUTLYING = 2.5  # standard deviations from which a run counts less
ITERATIONS = 12


@dataclass(frozen=True)
class Observation:
    """took: seconds of a phase. promised: those of the rates by (phase, term). noise: the standard deviation of the
    logarithm of ``took``."""

    took: float
    promised: Mapping[str, float]
    noise: float


def observations(own: Phases, others: Iterable[Phases]) -> list[Observation]:
    """Of this model's runs, and of other models', which are believed less."""
    found = [each for runs in own.values() for each in _of_runs(runs, 0.0)]
    return found + [each for phases in others for runs in phases.values() for each in _of_runs(runs, OF_OTHERS)]


def _of_runs(runs: Sequence[Run], more: float) -> Iterable[Observation]:
    for age, run in enumerate(reversed(runs)):
        took = max(run.took, CLOCK)
        yield Observation(
            took, run.promised, math.hypot((BUSY if run.busy else NOISE) + AGEING * age, more, 0.5 * CLOCK / took)
        )


def factors(seen: Sequence[Observation], names: Iterable[str]) -> dict[str, float]:
    """By term, "phase term". names: of those that are wanted, whether or not they were seen."""
    listed = sorted({*names, *(name for each in seen for name in each.promised)})
    if not seen:
        return dict.fromkeys(listed, 1.0)
    promised = np.array([[each.promised.get(name, 0.0) for name in listed] for each in seen])
    took, noise = np.log([each.took for each in seen]), np.array([each.noise for each in seen])
    prior, logs = _prior(listed), np.zeros(len(listed))
    variance = noise**2
    for _ in range(ITERATIONS):  # Gauss-Newton: a sum of terms is linear in the logarithm of no factor
        terms = promised * np.exp(logs)
        sums = terms.sum(axis=1)
        slopes, missed = terms / sums[:, None], took - np.log(sums)
        gain = prior @ slopes.T @ np.linalg.inv(slopes @ prior @ slopes.T + np.diag(variance))
        logs = gain @ (missed + slopes @ logs)
        left = np.abs(took - np.log((promised * np.exp(logs)).sum(axis=1))) / noise
        variance = noise**2 * np.maximum(1.0, left / OUTLYING)
    return dict(zip(listed, np.exp(logs).tolist(), strict=True))


def _prior(names: Sequence[str]) -> np.ndarray:
    """Covariances of the logarithms of factors."""
    phases = np.array([name.split(" ", 1)[0] for name in names])
    groups = [GROUPS.get(name.split(" ", 1)[1], "arithmetic") for name in names]
    shared, own = (np.array([table[group] for group in groups]) for table in (SHARED, OF_TERM))
    same = np.array(groups)[:, None] == np.array(groups)
    alike = same & (shared > 0)
    both = alike & (phases[:, None] == phases)
    return shared**2 * alike + OF_PHASE**2 * both + np.diag(own**2)
