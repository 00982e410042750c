"""The set-up installs the library as it lies there, without the network, and it works from any directory."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from conftest import ROOT, Project


def test_the_library_is_installed_as_it_lies_there(tmp_path):
    (tmp_path / "project").mkdir()
    project = Project(tmp_path / "project")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, project.path)
    (options,) = re.findall(r"bin/pip install (.*) --editable \.$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    prefix, elsewhere = tmp_path / "environment", tmp_path / "elsewhere"
    pip = [sys.executable, "-m", "pip", "install", "--no-index", "--prefix", str(prefix), *options.split()]
    subprocess.run([*pip, "--editable", str(project.path)], cwd=tmp_path, env=project.environment, check=True)
    elsewhere.mkdir()
    (site,) = prefix.glob("lib/python*/site-packages")
    code = f"import site; site.addsitedir({str(site)!r}); import camstudy, camstudy.cli; print(camstudy.__file__)"
    done = subprocess.run([sys.executable, "-Ic", code], cwd=elsewhere, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()) == project.path / "camstudy/__init__.py"
    assert (prefix / "bin/camstudy").exists()
    # The workflow is found from there, too, with its catalogues.
    snakefile = ["--snakefile", str(project.path / "Snakefile"), "--configfile", str(project.path / "study.yaml")]
    command = [sys.executable, "-m", "snakemake", *snakefile, "--cores", "1", "--profile", "none", "--dry-run"]
    done = subprocess.run(command, cwd=elsewhere, env=project.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Make table dcls of tiny" in done.stdout + done.stderr
