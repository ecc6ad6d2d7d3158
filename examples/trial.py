"""Makes trial.csv, 900 made-up people to try analyses on: ``python examples/trial.py > examples/trial.csv``.

The older and those at stage III fare worse, and are given a new drug (B or D) more often. So the crude comparison makes the
new drugs look hardly better than the standard ones (A and C); given age and stage, B halves the hazard and D takes a third
off it.
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd

PEOPLE, SEED = 900, 20_260
DAYS_A_MONTH = 30.4375
FACTORS = {"A": 1.0, "B": 0.5, "C": 1.0, "D": 0.67}


def trial() -> pd.DataFrame:
    """One row a person."""
    rng = np.random.default_rng(SEED)
    age, sex = rng.integers(40, 86, PEOPLE), rng.choice(["f", "m"], PEOPLE)
    stage = rng.choice(["I", "II", "III"], PEOPLE, p=[0.3, 0.4, 0.3])
    markers = (rng.random((PEOPLE, 2)) < (0.5, 0.3)).astype(np.int64)
    burden = (age - 62) / 20 + 0.8 * (stage == "III")
    new = rng.random(PEOPLE) < 1 / (1 + np.exp(0.3 - 1.2 * burden))
    drug = np.where(new, rng.choice(["B", "D"], PEOPLE), rng.choice(["A", "C"], PEOPLE))
    hazard = np.exp(burden) * np.array([FACTORS[one] for one in drug]) / 900
    dies, leaves = rng.exponential(1 / hazard), rng.uniform(400, 1_800, PEOPLE)
    days = np.ceil(np.minimum(dies, leaves)).astype(np.int64)
    return pd.DataFrame(
        {
            "site": rng.choice(["north", "south", "west"], PEOPLE),
            "age": age,
            "sex": sex,
            "stage": stage,
            "m1": markers[:, 0],
            "m2": markers[:, 1],
            "treatment": np.where(new, "new", "standard"),
            "drug": drug,
            "days": days,
            "months": np.floor(days / DAYS_A_MONTH).astype(np.int64),
            "died": (dies <= leaves).astype(np.int64),
        }
    )


if __name__ == "__main__":
    trial().to_csv(sys.stdout, index=False, lineterminator="\n")
