"""camstudy: saliency-map studies as a reproducible workflow."""

__version__ = "0.1.0"
