"""Fixations that were corrected after a dataset was prepared: they are those of a dataset prepared anew."""

from functools import partial

import numpy as np
import pytest
from PIL import Image
from trees import mit1003, picture, salicon

from camstudy.core import ledger
from camstudy.core.errors import CamstudyError
from camstudy.data.dataset import GAZE, open_dataset
from camstudy.data.formats.files import Root
from camstudy.data.formats.gaze import fixation_density
from camstudy.data.formats.gaze_table import read_table
from camstudy.data.formats.looks import write_looks
from camstudy.data.formats.photographs import write_photographs
from camstudy.data.sources import SOURCES, Collection

ATTRS = dict.fromkeys(("dataset", "source", "licence", "human_maps", "class_names"))


def table(root, rows):
    (root / "gaze.csv").write_text("image,observer,order,x,y\n" + "\n".join(rows) + "\n")
    density = partial(fixation_density, sigma=4.0)
    return Collection(*read_table(root, "gaze.csv"), density=density, sigma=4.0)


def prepare(manifest, found):
    where = {"attrs": ATTRS, "identity": "one", "density": found.density}
    write_photographs(manifest, found.files, found.photographs, **where)
    return open_dataset(manifest)


@pytest.fixture
def root(tmp_path):
    (tmp_path / "mine").mkdir()
    for n in range(70):
        (tmp_path / f"mine/{n:02}.jpg").write_bytes(picture(20, 30 + n % 2))
    return tmp_path / "mine"


ROWS = [f"{n:02}.jpg,{who},{order},{5 + order},{n % 20}" for n in range(70) for who in "ab" for order in range(n % 3)]
CORRECTED = ["69.jpg,c,0,3,4", *ROWS[:5], "05.jpg,a,0,29,19.5", "05.jpg,b,7,99,1", *ROWS[20:]]


def test_corrected_fixations_are_those_of_a_dataset_prepared_anew(root, tmp_path):
    before = prepare(tmp_path / "mine.json", table(root, ROWS))
    found = table(root, CORRECTED)
    write_looks(tmp_path / "mine.fixations.json", before, found, identity="two")
    corrected = open_dataset(tmp_path / "mine.json", [tmp_path / "mine.fixations.json"])
    anew = prepare(tmp_path / "anew.json", found)
    assert not np.array_equal(before.group["fixation"][:], anew.group["fixation"][:])
    for part in (slice(None), [69, 5]):
        for name in ("fixations", "observers", "orders", "durations"):
            for one, other in zip(getattr(corrected, name)(part), getattr(anew, name)(part), strict=True):
                np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(corrected.human_map(part), anew.human_map(part))
    assert {*GAZE} <= {*corrected.group}
    np.testing.assert_array_equal(corrected.images()[5], before.images()[5])


def test_images_that_are_gone_and_others_are_mistakes(root, tmp_path):
    before = prepare(tmp_path / "mine.json", table(root, ROWS))
    (root / "69.jpg").unlink()
    fewer = table(root, ROWS[:10])
    with pytest.raises(
        CamstudyError, match=r"fixations of 1 images of .*mine\.zarr are gone, such as those of 69\.jpg"
    ):
        write_looks(tmp_path / "mine.fixations.json", before, fewer, identity="two")
    other = prepare(tmp_path / "other.json", fewer)
    write_looks(tmp_path / "other.fixations.json", other, fewer, identity="two")
    with pytest.raises(CamstudyError, match=r"other\.fixations\.zarr: is of other images than .*mine\.zarr"):
        open_dataset(tmp_path / "mine.json", [tmp_path / "other.fixations.json"])


@pytest.mark.parametrize(
    ("source", "make", "looked", "seen"),
    [("mit1003", mit1003, "ALLFIXATIONMAPS", "ALLSTIMULI"), ("salicon", salicon, "fixations", "images")],
)
def test_each_file_is_of_the_images_or_of_where_people_looked(tmp_path, source, make, looked, seen):
    make(tmp_path)
    record, root = SOURCES[source], Root(tmp_path)
    found = record.read({"sigma": None}, root)
    found.files.hash(item.name for item in found.photographs)
    images, looks = tmp_path / "images.jsonl", tmp_path / "looks.jsonl"
    root.record(looks, "", only=record.looks({}))
    root.record(images, "", without=record.looks({}), names_count=record.names_count)

    def changed():
        """Which of the two tables notices what is there now."""
        return [bool(ledger.outside(path, tmp_path)) for path in (images, looks)]

    assert changed() == [False, False]
    one = next(path for path in sorted((tmp_path / looked).rglob("*")) if path.is_file() and "fixMap" not in path.name)
    content = one.read_bytes()
    one.write_bytes(content + b"1")
    assert changed() == [False, True]
    one.write_bytes(content)
    assert changed() == [False, False]
    (one.with_name("another" + one.suffix)).write_bytes(content)
    # SALICON's images are those of which fixations are known.
    assert changed() == [record.names_count, True]
    (one.with_name("another" + one.suffix)).unlink()
    (tmp_path / seen / found.photographs[0].name).write_bytes(picture(9, 9))
    assert changed() == [True, False]


def test_fixations_of_one_s_own_are_of_the_upright_picture(tmp_path):
    exif = Image.Exif()
    exif[0x112] = 6  # stored on its side: 20 rows of 30 columns, shown as 30 rows of 20
    Image.new("RGB", (30, 20)).save(tmp_path / "a.jpg", exif=exif.tobytes())
    (tmp_path / "gaze.csv").write_text("image,observer,order,x,y\na.jpg,anna,1,10,25\na.jpg,anna,2,25,10\n")
    found = SOURCES["gaze_table"].read({"table": "gaze.csv", "sigma": 4.0}, Root(tmp_path))
    attrs = ATTRS | {"upright": found.upright}
    write_photographs(
        tmp_path / "d.json", found.files, found.photographs, attrs=attrs, identity="f", density=found.density
    )
    dataset = open_dataset(tmp_path / "d.json")
    assert dataset.sizes.tolist() == [[30, 20]]
    assert dataset.fixations()[0].tolist() == [[25, 10]]
