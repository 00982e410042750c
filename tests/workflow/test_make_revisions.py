"""``make revisions`` on a copy of the project whose code was changed."""

import json
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT, left_behind

PARTS = ("Snakefile", "camstudy", "config", "envs", "profiles", "scripts", "workflow", "tests/golden")
FILES = ("tests/trees.py", "tests/unit/nets.py")
CAM = "camstudy/explain/methods/cam.py"


@pytest.fixture
def project(tmp_path):
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            # Without caches, into which others write at the same time.
            shutil.copytree(source, tmp_path / part, ignore=left_behind)
        else:
            shutil.copy(source, tmp_path / part)
    for file in FILES:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / file, tmp_path / file)
    return tmp_path


def edit(project, *changes):
    path = project / CAM
    text = path.read_text()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    path.write_text(text)


def revisions(project):
    """Run it and return what it printed, and how many revisions each unit with a new digest has begun."""
    table = project / "camstudy/core/revisions.json"
    before = json.loads(table.read_text())
    command = [sys.executable, "-m", "tests.golden"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stdout + done.stderr
    after = json.loads(table.read_text())
    assert before.keys() == after.keys()
    changed = [unit for unit in after if after[unit] != before[unit]]
    return done.stdout, {unit: max(after[unit].values()) - max(before[unit].values()) for unit in changed}


def test_refactoring_keeps_the_revisions(project):
    edit(
        project,
        # A comment, a renamed local, a helper made of a line, one that nothing uses.
        ('"""Class activation', '# A comment.\n"""Class activation'),
        ("g = gradients.relu()", "positive = gradients.relu()"),
        ("clamp(min=0) * g + (eps / g.square() if", "clamp(min=0) * positive + (eps / positive.square() if"),
        ("(g / ratio).where(g > 0", "(positive / ratio).where(positive > 0"),
        ("(weights * activations).sum(1).relu()", "_weighted(weights, activations)"),
        ("def _channel_weights", "def _weighted(w, a):\n    return (w * a).sum(1).relu()\n\n\ndef _channel_weights"),
        ("def _channel_weights", "def _unused(w):\n    return -w\n\n\ndef _channel_weights"),
    )
    printed, found = revisions(project)
    assert found == {"method:gradcam_plusplus": 0, "method:xgrad_cam": 0}, printed
    assert revisions(project)[1] == {}


def test_a_changed_sign_begins_revisions_of_what_uses_it(project):
    edit(project, ("return gradients.mean((2, 3)", "return -gradients.mean((2, 3)"))
    printed, found = revisions(project)
    assert found == {"method:gradcam": 1, "method:threshold_gradcam": 1}
    # What the engine makes with them is no news of its own.
    assert "explain: golden result renewed" in printed
    assert revisions(project)[1] == {}
