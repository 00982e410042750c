"""Explanation methods: `METHODS` lists them without importing torch, `engine` runs those on models."""

from camstudy.explain import cam, controls
from camstudy.explain.registry import METHODS, Method, bind

__all__ = ["METHODS", "Method", "bind", "cam", "controls"]
