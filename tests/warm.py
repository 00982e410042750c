"""Jobs of Snakemake in forks of one process that has imported the libraries: no job of a test spends seconds on that.

`python()` starts that process and returns the path of a program that stands for Python: given a script, it has the
process fork, and the child be the script, with the caller's arguments, variables, folder and streams; given anything
else, it becomes Python itself. Only libraries are shared, and nothing that is computed: what belongs to the project is
imported by each script anew.
"""

import atexit
import contextlib
import gc
import importlib
import os
import runpy
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import traceback
from functools import cache
from pathlib import Path

LIBRARIES = (
    *("numpy", "pandas", "pyarrow.parquet", "xarray", "zarr", "numba", "yaml", "PIL.Image", "requests", "jsonschema"),
    *("torch", "torchvision", "timm", "safetensors.torch", "scipy.stats", "scipy.ndimage", "scipy.io"),
    *("matplotlib.figure", "matplotlib.backends.backend_agg", "matplotlib.backends.backend_pdf", "snakemake.script"),
)
CLIENT = """\
#!{python} -IS
import os, socket, sys
if len(sys.argv) != 2 or not sys.argv[1].endswith(".py"):
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
with socket.socket(socket.AF_UNIX) as wire:
    wire.connect({place!r})
    said = "\\0".join([sys.argv[1], os.getcwd(), *(f"{{name}}={{value}}" for name, value in os.environ.items())])
    said = os.fsencode(said)
    socket.send_fds(wire, [len(said).to_bytes(4)], [0, 1, 2])
    wire.sendall(said)
    # Nothing is said of a process that something killed.
    sys.exit(int(wire.recv(8) or 1))
"""


@cache
def python() -> str:
    """Start the process, which ends with this one, and return the program's path."""
    folder = Path(tempfile.mkdtemp(prefix="warm"))
    program, place = folder / "python", folder / "socket"
    program.write_text(CLIENT.format(python=sys.executable, place=str(place)))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(place))
        listening.listen(64)
        # It lives as long as the other end of its standard input is open.
        command = [sys.executable, "-P", __file__, str(listening.fileno())]
        subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[listening.fileno()], cwd="/")
    return str(program)


def serve(listening: socket.socket) -> None:
    """Fork for each caller, who hears with which status the script ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    threading.Thread(target=_end_with_standard_input, daemon=True).start()
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.freeze()
    while True:
        wire, _ = listening.accept()
        if os.fork() == 0:
            listening.close()
            return _watch(wire)
        wire.close()


def _end_with_standard_input() -> None:
    os.read(0, 1)  # not through `sys.stdin`, whose lock would be held in forks
    os._exit(0)


def _watch(wire: socket.socket) -> None:
    """Fork once more: the child is the script, this process waits for its end, or for that of its caller."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    size, streams, _, _ = socket.recv_fds(wire, 4, 3)
    said = b""
    while len(said) < int.from_bytes(size):
        said += wire.recv(1 << 16)
    script, folder, *variables = os.fsdecode(said).split("\0")
    child = os.fork()
    if child == 0:
        wire.close()
        return _become(script, folder, variables, streams)
    threading.Thread(target=_kill_with_caller, args=(wire, child), daemon=True).start()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with contextlib.suppress(OSError):  # the caller is gone
        wire.sendall(str(status if status >= 0 else 128 - status).encode())
    os._exit(0)


def _kill_with_caller(wire: socket.socket, child: int) -> None:
    if not wire.recv(1):
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


def _become(script: str, folder: str, variables: list[str], streams: list[int]) -> None:
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variable.split("=", 1) for variable in variables)
    own = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:0] = [str(Path(script).parent), *own]
    sys.argv = [script]
    status = 0
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    # Not as Python ends, which takes all libraries down, one second long.
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
