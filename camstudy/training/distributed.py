"""Training shared by processes of one machine, one per GPU: each has its part of every batch; they end together.

Who else uses this machine must not decide what runs here: what the processes do comes to them by a pipe. They find
each other by a file in a folder that only this user can enter, not by torch's store on a port, which takes and gives
anyone anything. Through it go the addresses of gloo or the key that NCCL asks of who connects; nothing of it is
executed or unpickled, as torch unpickles only in the functions for objects (`broadcast_object_list` and the like),
which nothing here calls. gloo, for trying this out on the CPU, lets anyone connect, which could disturb the numbers.
"""

import json
import os
import pkgutil
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from camstudy.core.errors import CamstudyError
from camstudy.core.plugins import load, loaded
from camstudy.core.provenance import read_json, write_json

# In memory: temporary files may be on a network, where files cannot always be locked, as torch's store needs.
SHARED = "/dev/shm"
FAILURE = "failure.json"


@dataclass(frozen=True)
class Group:
    """The processes that train one model together: which of them this is, and their number; by default one alone."""

    rank: int = 0
    size: int = 1

    def replicate(self, model: nn.Module, device: torch.device) -> nn.Module:
        """Return a model to call in training: the same parameters, but gradients are means over the processes.

        All processes begin with the parameters and buffers of the first.
        """
        if self.size == 1:
            return model
        # Parameters that a batch does not reach may have no gradient, as they may in one process.
        return DistributedDataParallel(
            model, device_ids=[device] if device.type == "cuda" else None, find_unused_parameters=True
        )

    def exchange(self, replica: nn.Module, *, now: bool) -> AbstractContextManager:
        """Return the context of a forward and backward pass of `replicate`'s result.

        Only a pass ``now`` takes the mean over the processes, of the gradients of all passes since the last one.
        """
        return nullcontext() if now or self.size == 1 else replica.no_sync()

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum over the processes, the same in all of them."""
        if self.size > 1:
            values = values.clone()
            dist.all_reduce(values)
        return values


ALONE = Group()


def launch(function: Callable, arguments: Mapping, *, processes: int, device: str) -> None:
    """Call ``function(**arguments, device=..., group=...)`` in new processes of this machine, and wait for all.

    They communicate by NCCL on GPUs and by gloo on the CPU. If one fails, the others are ended; all end when this
    process does, even by SIGKILL.

    Parameters
    ----------
    function : at the top level of a module that can be imported
    arguments : keyword arguments, of what JSON can hold
    processes : how many
    device : ``cuda``, where each gets the GPU with the number of its rank, or ``cpu``

    Raises
    ------
    CamstudyError
        that which one of them raised; or one was killed, as happens when memory runs out.
    RuntimeError
        any other exception of one of them, with its traceback as the message.
    """
    name = f"{function.__module__}:{function.__qualname__}"
    plugins = [str(path) for path in loaded().values()]
    # Not multiprocessing, which would import, and so run, the script that calls this.
    command = [sys.executable, "-uPc", "import camstudy.training.distributed as d; d._work()"]
    workers = []
    # Of mode 0700.
    with tempfile.TemporaryDirectory(prefix="camstudy-", dir=SHARED) as folder:
        try:
            for rank in range(processes):
                # The pipe ends with this process: see `_end_with_parent`.
                worker = subprocess.Popen(command, stdin=subprocess.PIPE, env=_environment(), text=True)
                workers.append(worker)
                job = json.dumps([name, dict(arguments), rank, processes, device, folder, plugins])
                # If it has ended already, that is found below.
                with suppress(BrokenPipeError):
                    print(job, file=worker.stdin, flush=True)
            _wait(workers, Path(folder, FAILURE))
        finally:
            for worker in workers:
                worker.kill()
            for worker in workers:
                worker.wait()
                with suppress(BrokenPipeError):
                    worker.stdin.close()


def _environment() -> dict[str, str]:
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    # torch would warn of the price of `find_unused_parameters` where none is found.
    variables.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    # gloo would go by the host name, which need not resolve.
    for _, interface in socket.if_nameindex():
        if interface.startswith("lo"):
            variables["GLOO_SOCKET_IFNAME"] = interface
    return variables


def _wait(workers: list[subprocess.Popen], failure: Path) -> None:
    """Return when all have ended well; raise as soon as one has failed."""
    while any(worker.returncode is None for worker in workers):
        time.sleep(0.1)
        told = read_json(failure) if failure.is_file() else {}
        message = told.get("message")
        if told.get("is_mistake"):
            raise CamstudyError(message)
        if message:
            # The others may merely have lost a process that was killed, whose end is reported a little later.
            time.sleep(1)
        for rank, worker in enumerate(workers):
            which = f"process {rank + 1} of {len(workers)}"
            if (status := worker.poll() or 0) < 0:
                raise CamstudyError(
                    f"train: {which} was ended by {signal.Signals(-status).name}. If memory ran out, give the job more "
                    "`mem_mb`; run again to go on after the last finished epoch"
                )
            if status > 0:
                raise RuntimeError(f"{which} ended with status {status}")
        if message:
            raise RuntimeError(message)


def _work() -> None:
    """Do one process's part of what `launch` was called for."""
    line = sys.stdin.readline()
    if not line:
        return  # the parent ended before it could say what to do
    name, arguments, rank, processes, device, folder, plugins = json.loads(line)
    threading.Thread(target=_end_with_parent, args=[folder], daemon=True).start()
    # Ctrl-C reaches all processes; the parent ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    group = Group(rank, processes)
    try:
        device = torch.device(device, group.rank if device == "cuda" else None)
        if device.type == "cuda":
            torch.cuda.set_device(device)
        backend = "nccl" if device.type == "cuda" else "gloo"
        store = dist.FileStore(str(Path(folder, "store")), group.size)
        dist.init_process_group(backend, store=store, rank=group.rank, world_size=group.size)
        load(plugins)
        pkgutil.resolve_name(name)(**arguments, device=device, group=group)
        dist.destroy_process_group()
    except CamstudyError as error:
        _fail(folder, str(error), is_mistake=True)
    except Exception:
        _fail(folder, f"process {group.rank + 1} of {group.size}:\n{traceback.format_exc()}", is_mistake=False)


def _fail(folder: str, message: str, *, is_mistake: bool) -> None:
    """Tell the parent, then wait to be ended: the others would fail, too, if their connections broke first."""
    write_json(Path(folder, FAILURE), {"message": message, "is_mistake": is_mistake})
    threading.Event().wait()


def _end_with_parent(folder: str) -> None:
    """Wait for the end of standard input, which the parent never closes while it lives."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)
