"""What processes of a group do in tests: apart, because they need not import what the tests do."""

import os
import signal
import time
from pathlib import Path

import torch

from camstudy.core.errors import CamstudyError


def raise_mistake(device, group):
    raise CamstudyError(f"`train`: all {group.size} processes find this")


def raise_bug(device, group):
    if group.rank == 1:
        raise ZeroDivisionError(f"the bug on {device}")
    group.sum(torch.zeros(1))


def be_killed(device, group):
    if group.rank == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    group.sum(torch.zeros(1))


def leave_mark(path, device, group):
    """What another user would have these processes do."""
    Path(path).touch()


def meet(folder, device, group):
    """Meet the others, stay as long as an attack takes, and leave a file for each that found all there."""
    time.sleep(3)
    met = group.sum(torch.ones(1))
    Path(folder, f"{group.rank} met {met.item():g}").touch()


def hang(folder, device, group):
    """Meet the others, leave a file called as the process's number, and stay."""
    group.sum(torch.zeros(1))
    Path(folder, str(os.getpid())).touch()
    time.sleep(600)
