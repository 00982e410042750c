"""Every command of README.md and docs/, run as printed in a fresh clone and a fresh shell.

What takes hours, needs a cluster or makes the environment is shortened by shell functions of the commands' names,
below; what they stand for is started with the arguments that are printed.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import TINY

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(?:bash|sh|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PAGES = [Path("README.md"), *sorted(path.relative_to(ROOT) for path in ROOT.glob("docs/*.md"))]
COMMANDS = [(page, text) for page in PAGES for text in BLOCK.findall((ROOT / page).read_text())]
SHORTER = """
set -eu
# By the module, so that the clone is what runs.
# Studies run as dry runs; with the cluster's profile, as its jobs would be without a cluster. What shows a finished
# study shows the tiny one, which is in the clone's results/.
camstudy() {
    local word=$1 study=${2:-}
    case $word in
        run) python -m camstudy.cli "${@/slurm/profiles\\/local}" --dry-run --quiet all ;;
        report | bundle | verify) shift 2; python -m camstudy.cli "$word" tiny.yaml "$@" ;;
        *) python -m camstudy.cli "$@" ;;
    esac
}
snakemake() { command snakemake "$@" --dry-run --quiet all; }
# The targets exist, and so do what they need; the environment is there.
make() { command make --dry-run "$@"; }
git() { [ "$1" = clone ]; }
cd() { [ "$1" = camstudy ] || builtin cd "$@"; }
tmux() { [ "$1" = new ]; }
"""


@pytest.fixture(scope="module")
def clone(tmp_path_factory, finished):
    """The files of the repository, with the environment linked and a finished study in results/."""
    folder = tmp_path_factory.mktemp("clone") / "camstudy"
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    for name in filter(None, files):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, folder / name, follow_symlinks=False)
    (folder / ".venv").symlink_to(sys.prefix)
    os.utime(folder / "requirements.lock", (0, 0))
    subprocess.run(["cp", "-a", f"{finished.path}/results/.", folder / "results"], check=True)
    (folder / "tiny.yaml").write_text(yaml.safe_dump(TINY, sort_keys=False))
    (folder / "my_study.yaml").write_text(yaml.safe_dump(TINY | {"study": "mine"}, sort_keys=False))
    return folder


@pytest.mark.parametrize(("page", "text"), COMMANDS, ids=[f"{page}-{text.split()[0]}" for page, text in COMMANDS])
def test_commands_work_as_printed(clone, page, text):
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    # Without the environment's commands, which a page has to put there.
    found = [folder for folder in env["PATH"].split(":") if Path(folder).resolve() != Path(sys.prefix, "bin").resolve()]
    activated = "" if "activate" in text else "source .venv/bin/activate\n"
    done = subprocess.run(
        ["bash", "-c", SHORTER + activated + text],
        cwd=clone,
        env=env | {"PATH": ":".join(found)},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_every_page_with_a_shell_is_tried():
    text = "".join((ROOT / page).read_text() for page in PAGES)
    assert len(COMMANDS) == len(re.findall(r"^\s*```(?:bash|sh|console|shell)", text, re.MULTILINE)) > 4
