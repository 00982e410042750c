"""Locks of heads that begin at the same moment: each has its own, and no two make the same files."""

from pathlib import Path

import pytest
import snakemake.api  # noqa: F401  (first, as it imports in circles)
from snakemake.exceptions import LockException

from camstudy.pipeline.bookkeeping import Bookkeeping


class Head(Bookkeeping):
    """The locks of a head, which calls ``meanwhile`` between the moment at which it finds none and its own."""

    def __init__(self, folder, inputs, outputs, meanwhile=lambda: None):
        self._lockdir, self._lockfile = str(folder), {}
        self.inputs, self.outputs, self.meanwhile = inputs, outputs, meanwhile

    def all_inputfiles(self):
        return self.inputs

    def all_outputfiles(self):
        return self.outputs

    def _write_locks(self, lock_type, keys):
        if lock_type == "input":
            self.meanwhile()
        super()._write_locks(lock_type, keys)


def locks(folder):
    return {path.name: path.read_text().split() for path in Path(folder).iterdir()}


def test_heads_that_make_other_files_have_locks_of_their_own(tmp_path):
    first, second = Head(tmp_path, ["a"], ["b"]).lock(), Head(tmp_path, ["a"], ["c"]).lock()
    with first:
        with second:
            assert locks(tmp_path) == {
                "0.input.lock": ["a"],
                "0.output.lock": ["b"],
                "1.input.lock": ["a"],
                "1.output.lock": ["c"],
            }
        assert locks(tmp_path) == {"0.input.lock": ["a"], "0.output.lock": ["b"]}
    assert locks(tmp_path) == {}


@pytest.mark.parametrize(("inputs", "outputs"), [(["a"], ["b"]), (["b"], ["c"]), (["c"], ["a"])])
@pytest.mark.parametrize("at_once", [True, False])
def test_of_heads_that_make_the_same_files_one_is_refused(tmp_path, inputs, outputs, at_once):
    first = Head(tmp_path, ["a"], ["b"]).lock()
    enter = first.__enter__
    if not at_once:
        enter()
    second = Head(tmp_path, inputs, outputs, enter if at_once else lambda: None).lock()
    with pytest.raises(LockException, match="cannot be locked"), second:
        pytest.fail("it holds the lock")
    assert locks(tmp_path) == {"0.input.lock": ["a"], "0.output.lock": ["b"]}
    first.__exit__(None, None, None)
    assert locks(tmp_path) == {}


def test_a_head_without_inputs_has_no_lock_on_any(tmp_path):
    with Head(tmp_path, [], ["b"]).lock():
        assert locks(tmp_path) == {"0.output.lock": ["b"]}
