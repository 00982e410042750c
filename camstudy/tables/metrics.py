"""What tables print of any metric: its heading with direction and unit, and the scale of its values."""

from camstudy.metrics.families import METRICS
from camstudy.metrics.registry import Metric

ARROWS = {"up": "↑", "down": "↓"}
NAMES = ("Dice@10", "Spearman")  # capitals that stay within a sentence
UNITS = {"%": " (%)", "nat": " (nat)", "bit": " (bit)"}


def heading(metric: Metric) -> str:
    """Return the title of a metric's column: label, an arrow to what is better, unit."""
    return f"{metric.label} {ARROWS[metric.direction]}{UNITS.get(metric.unit, '')}"


def spoken(name: str) -> str:
    """Return the label of a metric as it stands within a sentence.

    >>> spoken("average_drop"), spoken("nss"), spoken("spearman")
    ('average drop', 'NSS', 'Spearman')
    """
    label = METRICS[name].label
    first = label.split()[0]
    return label if first in NAMES or not first[1:].islower() else label[0].lower() + label[1:]


def scale(metric: Metric) -> float:
    """Return by what values are multiplied: shares are printed as percentages."""
    return 100.0 if metric.unit == "%" else 1.0
