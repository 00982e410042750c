"""Numbers made by a formula in whole numbers, the same on every machine and with every version of every library."""

from collections.abc import Mapping

import numpy as np


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    """Return values in [0, 1) that look random, float64: Steele et al. 2014, SplitMix64."""
    values = np.arange(1, np.prod(shape, dtype=int) + 1, dtype=np.uint64) + np.uint64(seed) * np.uint64(1_000_003)
    values *= np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((values ^ (values >> np.uint64(31))) >> np.uint64(11)).reshape(shape) / 2.0**53


def weights(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return values for a network's state: layers keep the size of their input, norms scale and shift a little."""
    made = {}
    for number, (name, old) in enumerate(state.items()):
        values = 2 * noise(*old.shape, seed=number) - 1
        if old.ndim > 1:
            values *= (6 / np.prod(old.shape[1:])) ** 0.5
        elif name.endswith(("bias", "running_mean")):
            values *= 0.1
        else:
            values = 1 + values * 0.2
        made[name] = np.asarray(values, old.dtype)
    return made
