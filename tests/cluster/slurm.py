"""A throw-away SLURM on this machine: munge, MariaDB, slurmdbd, slurmctld and slurmd in a temporary directory.

One node, partitions `cpu` and `gpu`. It touches nothing outside its directory and uses free ports of 127.0.0.1, so that
several run side by side. Programs are Debian's (SLURM 22.05); they need root, but neither systemd nor cgroups.
"""

import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

# Programs by the Debian package that brings them.
PACKAGES = {
    "slurm-wlm": ("slurmctld", "slurmd", "sbatch"),
    "slurmdbd": ("slurmdbd",),
    "mariadb-server": ("mariadbd", "mariadb-install-db"),
    "munge": ("munged", "mungekey"),
}
# In the order in which they start; they stop in the opposite one.
DAEMONS = ("munged", "mariadbd", "slurmdbd", "slurmctld", "slurmd")
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])

# No job of the tests waits for the scheduler, for a node that was away for seconds, or for its own death.
SLURM = """\
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={slurmctld}
SlurmdPort={slurmd}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={directory}/munge.socket
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool
SlurmctldPidFile={directory}/slurmctld.pid
SlurmdPidFile={directory}/slurmd.pid
TmpFS={directory}
MailProg=/bin/true
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=1
SlurmctldTimeout=30
SlurmdTimeout=300
ReturnToService=2
SlurmdParameters=config_overrides
JobRequeue=1
KillWait=2
OverTimeLimit=0
DefMemPerCPU=1000
GresTypes=gpu
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={slurmdbd}
AccountingStoragePass={directory}/munge.socket
AccountingStorageTRES=gres/gpu
AccountingStoreFlags=job_comment
JobAcctGatherType=jobacct_gather/linux
NodeName=node NodeHostname={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=1000000 Gres=gpu:{gpus}
PartitionName=cpu Nodes=node Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
PartitionName=gpu Nodes=node Default=NO MaxTime=INFINITE State=UP OverSubscribe=NO
"""
SLURMDBD = """\
AuthType=auth/munge
AuthInfo=socket={directory}/munge.socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={slurmdbd}
SlurmUser=root
PidFile={directory}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={mariadbd}
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
"""
# A GPU is a file to SLURM; any that exists will do.
GPUS = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random")
DATABASE = """\
CREATE DATABASE slurm_acct_db;
CREATE USER slurm@'127.0.0.1' IDENTIFIED BY 'slurm';
GRANT ALL ON slurm_acct_db.* TO slurm@'127.0.0.1';
"""


def unavailable() -> str | None:
    """Return why no cluster can run here, or None."""
    missing = [name for name, programs in PACKAGES.items() if not all(shutil.which(p, path=PATH) for p in programs)]
    if missing:
        return f"packages are missing: apt-get install {' '.join(missing)}"
    return None if os.geteuid() == 0 else "SLURM's daemons run jobs only as root"


class Cluster:
    """A running SLURM, as a context manager; see the module.

    Attributes
    ----------
    environment : variables that make a process use this cluster: ``sbatch``, ``sacct``, Snakemake
    directory : where everything is, logs as ``{daemon}.log``; gone when the cluster has stopped
    """

    def __init__(self, cpus: int = 4, gpus: int = 1) -> None:
        self.cpus, self.gpus = cpus, gpus
        self.daemons: dict[str, subprocess.Popen] = {}
        self._asking = threading.RLock()

    def __enter__(self) -> "Cluster":
        self.directory = Path(tempfile.mkdtemp(prefix="camstudy-slurm-"))
        configuration = str(self.directory / "slurm.conf")
        self.environment = {"PATH": f"{self.directory}{os.pathsep}{PATH}", "SLURM_CONF": configuration}
        guard = [sys.executable, Path(__file__).with_name("guard.py"), self.directory]
        self._guard = subprocess.Popen(guard, stdin=subprocess.PIPE, start_new_session=True)
        try:
            self._configure()
            for name in DAEMONS:
                self.start(name)
            self._wait("the node", lambda: "idle" in self._output("sinfo", "--noheader", "--format=%T"), 120)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(subprocess.SubprocessError, OSError):
            self._output("scancel", "--user=root", timeout=10)
        for name in reversed(list(self.daemons)):
            self.stop(name)
        self._guard.stdin.close()
        self._guard.wait()

    def _configure(self) -> None:
        """Write the configuration and make the key and the empty database."""
        # munged serves its socket to everyone or not at all.
        self.directory.chmod(0o755)
        self._ports = dict(zip(("mariadbd", "slurmdbd", "slurmctld", "slurmd"), free_ports(4), strict=True))
        node = {"host": socket.gethostname(), "cpus": self.cpus, "gpus": self.gpus}
        values = {"directory": self.directory, **node, **self._ports}
        files = {
            "slurm.conf": SLURM.format(**values),
            "slurmdbd.conf": SLURMDBD.format(**values),
            "gres.conf": "".join(f"NodeName=node Name=gpu File={file}\n" for file in GPUS[: self.gpus]),
            "database.sql": DATABASE,
        }
        for name, text in files.items():
            path = self.directory / name
            path.write_text(text)
            path.chmod(0o600 if name == "slurmdbd.conf" else 0o644)
        # The executor's step within a job drops SLURM_CONF: no loss where the configuration is in /etc.
        srun = self.directory / "srun"
        srun.write_text(f'#!/bin/sh\nSLURM_CONF={self.directory}/slurm.conf exec {shutil.which("srun")} "$@"\n')
        srun.chmod(0o755)
        for folder in ("state", "spool"):
            (self.directory / folder).mkdir()
        self._output("mungekey", "--create", f"--keyfile={self.directory / 'munge.key'}")
        database = [f"--datadir={self.directory / 'database'}", "--user=root", "--innodb-log-file-size=4M"]
        self._output("mariadb-install-db", "--no-defaults", *database, "--auth-root-authentication-method=normal")

    def _command(self, name: str) -> list[str]:
        at = self.directory
        if name == "munged":
            files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
            # `--force`: a warning, not an end, where a parent directory is open to others.
            return ["munged", "--foreground", "--force", *(f"--{key}={at}/munge.{end}" for key, end in files.items())]
        if name == "mariadbd":
            options = {
                "user": "root",
                "datadir": at / "database",
                "socket": at / "mariadb.socket",
                "pid-file": at / "mariadb.pid",
                "bind-address": "127.0.0.1",
                "port": self._ports["mariadbd"],
                "init-file": at / "database.sql",
                "innodb-log-file-size": "4M",
                "innodb-lock-wait-timeout": 900,
                "innodb-flush-log-at-trx-commit": 0,
            }
            return ["mariadbd", "--no-defaults", *(f"--{key}={value}" for key, value in options.items())]
        # The node has a name of its own, whatever the machine is called.
        return [name, "-D", *(["-N", "node"] if name == "slurmd" else [])]

    def start(self, name: str, timeout: float = 180) -> None:
        """Start a daemon and wait until it answers."""
        with (self.directory / f"{name}.log").open("a") as log:
            self.daemons[name] = subprocess.Popen(
                self._command(name), env=os.environ | self.environment, stdout=log, stderr=log, start_new_session=True
            )
        self._wait(name, lambda: self._answers(name), timeout)

    def stop(self, name: str, timeout: float = 20) -> None:
        """Stop a daemon and wait for its end; jobs go on without slurmctld or slurmd."""
        process = self.daemons.pop(name)
        process.terminate()
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def restart(self, name: str, pause: float) -> None:
        """Stop a daemon, wait some seconds, and start it again; our own questions from other threads wait."""
        with self._asking:
            self.stop(name)
            time.sleep(pause)
            self.start(name)

    def _answers(self, name: str) -> bool:
        if self.daemons[name].poll() is not None:
            raise RuntimeError(f"{name} ended with status {self.daemons[name].returncode}")
        if name == "munged":
            return (self.directory / "munge.socket").exists()
        with suppress(OSError), socket.create_connection(("127.0.0.1", self._ports[name]), timeout=1):
            return True
        return False

    def _wait(self, what: str, happened: Callable[[], bool], timeout: float) -> None:
        deadline, why = time.monotonic() + timeout, f"not up after {timeout} s"
        while time.monotonic() < deadline:
            try:
                if happened():
                    return
            except (RuntimeError, subprocess.SubprocessError) as error:
                why = f"{error}\n{getattr(error, 'stderr', '') or ''}"
                if isinstance(error, RuntimeError):
                    break
            time.sleep(0.05)
        logs = [f"--- {path.name}\n{path.read_text()[-3000:]}" for path in sorted(self.directory.glob("*.log"))]
        raise RuntimeError("\n".join([f"{what}: {why}", *logs]))

    def _output(self, *command: str, timeout: float = 60) -> str:
        with self._asking:
            env = os.environ | self.environment
            return subprocess.run(command, env=env, capture_output=True, text=True, timeout=timeout, check=True).stdout

    def sacct(self, *fields: str) -> list[dict[str, str]]:
        """Return what accounting knows of every job, all attempts, in the order of submission.

        ``fields`` are added to those every record has. ``Rule`` and ``Wildcards`` come from the plugin's comment.
        """
        names = ["JobID", "JobName", "Comment", "State", "AllocTRES", "Partition", "Timelimit", "Submit", "Start"]
        names += ["End", "ElapsedRaw", *fields]
        options = ("--allocations", "--duplicates", "--parsable2", "--noheader", "--starttime=now-1days")
        text = self._output("sacct", *options, f"--format={','.join(names)}")
        jobs = [dict(zip(names, line.split("|"), strict=True)) for line in text.splitlines()]
        for job in jobs:
            rule, _, wildcards = job["Comment"].removeprefix("rule_").partition("_wildcards_")
            # The tasks of an array have the comment of its first.
            _, _, task = job["JobID"].partition("_")
            job.update(Rule=rule, Wildcards=f"{wildcards.rstrip('_')}{task and f'[{task}]'}")
        return jobs

    def squeue(self, *fields: str) -> list[dict[str, str]]:
        """Return the jobs that are waiting or running."""
        names = ["JobID", "State", "Comment", *fields]
        text = self._output("squeue", "--noheader", f"--Format={','.join(f'{name}:|' for name in names)}")
        return [dict(zip(names, line.split("|"), strict=False)) for line in text.splitlines()]

    def scancel(self, *jobs: str) -> None:
        """Cancel jobs by their ids."""
        self._output("scancel", *jobs)

    def limit(self, job: str, minutes: int) -> None:
        """Set how long a job may run in all."""
        self._output("scontrol", "update", f"JobId={job}", f"TimeLimit={minutes}")

    def settle(self, timeout: float = 180) -> None:
        """Wait until no job waits or runs, and accounting has been told of it."""
        self._wait("the last job", self._is_settled, timeout)

    def _is_settled(self) -> bool:
        return not self.squeue() and all(job["State"] not in ("PENDING", "RUNNING", "REQUEUED") for job in self.sacct())


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that nothing uses, and that Linux gives to nobody who does not ask for them."""
    first, _ = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    ports: list[int] = []
    for port in random.sample(range(first // 2, first), k=first - first // 2):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            ports.append(port)
        if len(ports) == count:
            return ports
    raise RuntimeError("no port is free")
