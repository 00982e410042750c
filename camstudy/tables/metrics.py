"""What tables print of any metric: its heading with direction and unit, and the scale of its values."""

from camstudy.metrics.registry import Metric

ARROWS = {"up": "↑", "down": "↓"}
UNITS = {"%": " (%)", "nat": " (nat)", "bit": " (bit)"}


def heading(metric: Metric) -> str:
    """Return the title of a metric's column: label, an arrow to what is better, unit."""
    return f"{metric.label} {ARROWS[metric.direction]}{UNITS.get(metric.unit, '')}"


def scale(metric: Metric) -> float:
    """Return by what values are multiplied: shares are printed as percentages."""
    return 100.0 if metric.unit == "%" else 1.0
