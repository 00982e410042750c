"""What the workflow does around the work of its scripts: library path, log, errors without tracebacks, device."""

import ctypes
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from camstudy.core import plugins
from camstudy.core.damage import set_aside
from camstudy.core.errors import CamstudyError, Damaged
from camstudy.core.provenance import run_record_path, sha256_file, write_run_record
from camstudy.pipeline.disk import disk_mistake
from camstudy.pipeline.gpus import promised

if TYPE_CHECKING:
    import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # of glibc's malloc.h


def share_library() -> None:
    """Make this library importable in the processes that come, which run scripts: it need not be installed."""
    here = str(Path(__file__).parents[2])
    others = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path not in ("", here)]
    os.environ["PYTHONPATH"] = os.pathsep.join([here, *others])
    # Numba keeps what it compiles beside the sources, else in the home; a job may be able to write in neither.
    if not os.access(Path(__file__).parents[1], os.W_OK):
        os.environ.setdefault("NUMBA_CACHE_DIR", str(Path(".snakemake/numba").resolve()))


def count_gpus() -> int:
    """Return the number of NVIDIA GPUs of this machine, without the seconds that importing torch takes."""
    return sum(path.name[6:].isdigit() for path in Path("/dev").glob("nvidia*"))


@contextmanager
def logged(log: str) -> Iterator[Callable[[str], None]]:
    """Send everything that the block prints to the file ``log``, that of libraries and subprocesses too.

    What the block gets is a function that prints a line there and on the terminal, for the user to act on.
    A `CamstudyError` ends the process with status 1 and its message, in the log and on the terminal, and so does a
    disk that is full or may not be written, and too little memory; what is `Damaged` is set aside then, so that the
    next run makes it anew. Other exceptions keep their traceback, in both.
    """
    terminal = os.dup(sys.stderr.fileno())
    sys.stdout.flush()
    sys.stderr.flush()
    # Line by line: a killed job's log is complete, and a subprocess's lines stay in their place among the others.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # its type leaves open what it is

    def tell(message: str) -> None:
        for stream in (terminal, sys.stderr.fileno()):
            # A full disk takes no more lines.
            with suppress(OSError):
                os.write(stream, f"{message}\n".encode())

    try:
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file, stream.fileno())
        yield tell
    except Damaged as error:
        try:
            tell(f"error: {set_aside(error)}")
        except OSError:
            tell(f"error: {error}")
        raise SystemExit(1) from None
    except CamstudyError as error:
        tell(f"error: {error}")
        raise SystemExit(1) from None
    except Exception as error:
        if told := disk_mistake(error) or _lack_of_memory(error):
            tell(f"error: {told}")
            raise SystemExit(1) from None
        # A bug: the log keeps the traceback, the interpreter's own handler shows it on the terminal.
        traceback.print_exc()
        os.dup2(terminal, sys.stderr.fileno())
        raise


def _lack_of_memory(error: BaseException) -> str | None:
    """Return what to tell a user whose machine or GPU has too little memory; None for other errors."""
    text = str(error).partition("\n")[0]
    if "CUDA out of memory" in text:
        return f"the memory of the GPU does not suffice ({text}); lower the batch size, or the input's size"
    if isinstance(error, MemoryError) or "can't allocate memory" in text:
        what = f" ({text})" if text else ""
        return (
            f"the memory of this machine does not suffice{what}; run fewer jobs at once (`--cores`), or smaller batches"
        )
    return None


@dataclass
class Step:
    """A job at work: ``tell`` prints a line for the user to act on, ``facts`` go into the record of the run."""

    tell: Callable[[str], None]
    facts: dict[str, object] = field(default_factory=dict)

    def note(self, **facts: object) -> None:
        """Add facts to the record of the run, such as the device and the seconds an image took."""
        self.facts |= facts


class Job(Protocol):
    """The object that Snakemake gives to scripts, as far as it is used here."""

    output: Sequence[str]
    log: Sequence[str]
    config: Mapping[str, Any]
    params: Any


@contextmanager
def step(job: Job) -> Iterator[Step]:
    """Run a job's work as `logged` does, then write the record of the run beside the first output.

    ``job`` is the object that Snakemake gives to scripts. The record holds the job's identity, by which a result is
    known where Snakemake has no record of it; no rule takes it as input. The block has the study's plugins.
    """
    started = time.time()
    with logged(job.log[0]) as tell:
        # Of a run before, if this one makes nothing.
        run_record_path(job.output[0]).unlink(missing_ok=True)
        plugins.load(job.config.get("plugins", ()))
        done = Step(tell)
        yield done
        facts = {"identity": job.params.identity, **_sums(job.output), **done.facts}
        write_run_record(job.output[0], started, job.config["study"], **facts)


def _sums(made: Sequence[str]) -> dict[str, object]:
    """Return the sha256 of what a job made, where no record beside it has that: of tables and figures."""
    if Path(made[0]).with_suffix(".json").is_file():
        return {}
    return {"sha256": {Path(file).name: sha256_file(file) for file in made}}


def torch_device(setting: str, resources: object, threads: int) -> "torch.device":
    """Return the device of the job, and set CPU threads.

    The study's ``device`` decides: with ``cpu`` and ``cuda``, the resources only schedule. With ``auto`` it is CUDA
    if they promise a GPU, see `camstudy.pipeline.gpus.promised`.

    Raises
    ------
    CamstudyError
        if more GPUs were promised than can be seen.
    """
    import torch

    torch.set_num_threads(threads)
    gpus = promised(resources)
    if setting == "cpu" or (setting == "auto" and not gpus):
        _keep_freed_memory()
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise CamstudyError(
            f"this job was scheduled on a GPU, but torch {torch.__version__} finds no CUDA device "
            f"(CUDA_VISIBLE_DEVICES={os.environ.get('CUDA_VISIBLE_DEVICES', 'unset')}). Check the partition and the "
            "driver (`nvidia-smi`), or run on the CPU with `--config device=cpu`"
        )
    if torch.cuda.device_count() < gpus:
        raise CamstudyError(
            f"this job was scheduled on {gpus} GPUs, but torch finds {torch.cuda.device_count()} "
            f"(CUDA_VISIBLE_DEVICES={os.environ.get('CUDA_VISIBLE_DEVICES', 'unset')}). Check that the partition's "
            "nodes have as many, or lower `train.gpu`"
        )
    return torch.device("cuda")


def _keep_freed_memory() -> None:
    """Let glibc keep the memory of one batch for the next: asking Linux for it anew took a third of RISE's time."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(M_MMAP_THRESHOLD, 32 << 20)
        libc.mallopt(M_TRIM_THRESHOLD, 1 << 30)
        # Else each thread that reads chunks keeps those that it has read.
        libc.mallopt(M_ARENA_MAX, 2)
