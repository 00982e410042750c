"""Division of a dataset into parts: every image once, in fixed ranges; parts of scores read as one."""

import numpy as np
import pandas as pd
import pytest

from camstudy.core.errors import CamstudyError
from camstudy.core.parts import PART, by_key, part_names, part_slice, read_scores, read_tables, write_scores
from camstudy.core.provenance import write_record


@pytest.mark.parametrize("n", [1, 1023, 1024, 1025, 2048, 50_000, 1_281_167])
def test_parts_cover_all_images_once_in_fixed_ranges(n):
    slices = [part_slice(name, n) for name in part_names(n)]
    assert [image for part in slices for image in range(n)[part]] == list(range(n))
    assert all(part.start % PART == 0 and part.stop - part.start <= PART for part in slices)


def test_names_say_which_images():
    assert part_names(2500) == ["/00000-01023", "/01024-02047", "/02048-02499"]
    assert part_names(PART) == part_names(2500, divided=False) == [""]
    # The parts of a dataset are parts of a longer one, but for the last.
    assert part_names(5000)[:2] == part_names(2500)[:2]


@pytest.mark.parametrize(("name", "n"), [("/01024-01999", 1900), ("/01024-01999", 3000), ("/02048-03071", 2000)])
def test_another_number_of_images_than_was_planned_for_is_refused(name, n):
    with pytest.raises(CamstudyError, match=f"the dataset has {n}, which was not known .* start Snakemake again"):
        part_slice(name, n)


def test_files_by_key():
    assert by_key([("a", "x"), ["a", "y"], ["a", "x"]], "pqr") == {("a", "x"): ["p", "r"], ("a", "y"): ["q"]}
    with pytest.raises(ValueError, match="argument 2"):
        by_key([("a", "x")], "pq")


class Images:
    """A dataset of ten images as far as scores know it."""

    n = 10

    def names(self, part=slice(None)):
        return np.array([f"{number}.jpg" for number in range(self.n)], object)[part]


def write(folder, start, stop, *, rows=1, dataset=None):
    path = folder / f"{start}.parquet"
    images = np.repeat(np.arange(start, stop), rows)
    frame = pd.DataFrame({"image": images, "spearman": images / 10})
    write_scores(path, frame, dataset or Images(), slice(start, stop))
    return path


def change(path, edit):
    """Change the rows of a file of scores, not what it says of itself."""
    frame = pd.read_parquet(path)
    attrs = frame.attrs
    frame = edit(frame)
    frame.attrs = attrs
    frame.to_parquet(path, index=False)


@pytest.mark.parametrize("rows", [1, 3])
def test_parts_of_scores_are_read_as_the_whole_with_names(tmp_path, rows):
    parts = [write(tmp_path, *edges, rows=rows) for edges in ((0, 4), (4, 8), (8, 10))]
    found = read_scores(reversed(parts))
    assert found.columns.tolist() == ["image", "name", "spearman"]
    assert found["image"].tolist() == np.repeat(np.arange(10), rows).tolist()
    assert found["name"].tolist() == [f"{image}.jpg" for image in found["image"]]
    assert found.index.tolist() == list(range(10 * rows))
    assert found.attrs == {}
    (tmp_path / "whole").mkdir()
    whole = write(tmp_path / "whole", 0, 10, rows=rows)
    keys = [("net", "a"), ("net", "b"), ("net", "a"), ("net", "a")]
    for path in (*parts, whole):
        write_record(path.with_suffix(".json"), "one", path)
    tables = read_tables(keys, [path.with_suffix(".json") for path in (parts[0], whole, *parts[1:])])
    assert tables.keys() == {("net", "a"), ("net", "b")}
    assert all(table.equals(found) for table in tables.values())


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            [(0, 4), (6, 10)],
            r"6\.parquet: holds images 6 to 9 of 10, but images 4 to 5 are in none of the parts; delete",
        ),
        ([(4, 10)], r"4\.parquet: holds images 4 to 9 of 10, but images 0 to 3 are in none of the parts"),
        ([(0, 6), (4, 10)], r"4\.parquet: holds images 4 to 9 of 10, but images 4 to 5 are in other parts, too"),
        ([(0, 4), (4, 8)], r"4\.parquet: holds images 4 to 7 of 10, but images 8 to 9 are in none of the parts"),
    ],
)
def test_parts_of_scores_that_are_not_the_whole_are_refused(tmp_path, parts, message):
    paths = [write(tmp_path, *edges) for edges in parts]
    with pytest.raises(CamstudyError, match=message):
        read_scores(paths)


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda frame: frame[~frame["image"].isin([5, 6])], "lacks images 5 to 6;"),
        (lambda frame: frame[~frame["image"].isin([4, 7])], "lacks images 4 to 4;"),
        (lambda frame: pd.concat([frame, frame[frame["image"] == 7]]), "has not [12] rows of images 7 to 7;"),
        (lambda frame: frame.iloc[:0], "lacks images 4 to 9;"),
        (lambda frame: frame.assign(image=frame["image"] + 1), "lacks images 4 to 4;"),
        (lambda frame: pd.concat([frame, frame.assign(image=frame["image"] - 4)]), "is not to hold images 0 to 3;"),
    ],
)
def test_files_of_scores_hold_what_they_say(tmp_path, edit, message, rows):
    paths = [write(tmp_path, *edges, rows=rows) for edges in ((0, 4), (4, 10))]
    change(paths[1], edit)
    with pytest.raises(CamstudyError, match=rf"4\.parquet: {message} delete it and score again"):
        read_scores(paths)


def test_scores_of_a_sample_are_as_many_as_were_drawn(tmp_path):
    path, sample = tmp_path / "sanity.parquet", np.array([8, 1, 5])
    frame = pd.DataFrame({"image": np.repeat(sample, 2), "correlation": 0.5})
    write_scores(path, frame, Images(), sample)
    assert read_scores([path])["name"].tolist() == ["8.jpg", "8.jpg", "1.jpg", "1.jpg", "5.jpg", "5.jpg"]
    change(path, lambda frame: frame[frame["image"] != 5])
    with pytest.raises(CamstudyError, match=r"sanity\.parquet: holds 2 of 3 images"):
        read_scores([path])


def test_parts_of_different_datasets_are_refused(tmp_path):
    more = Images()
    more.n = 12
    paths = [write(tmp_path, 0, 4), write(tmp_path, 4, 12, dataset=more)]
    with pytest.raises(CamstudyError, match=r"4\.parquet: holds images 4 to 11 of 12, those before it are of 10"):
        read_scores(paths)


def test_files_that_do_not_say_what_they_hold_are_refused(tmp_path):
    path = tmp_path / "old.parquet"
    pd.DataFrame({"image": range(10)}).to_parquet(path)
    with pytest.raises(CamstudyError, match=r"old\.parquet: does not say which images it holds"):
        read_scores([path])


@pytest.mark.parametrize("images", [[0, 1, 2], [0, 1, 2, 3, 3], [0, 1, 2, 4]])
def test_scores_of_other_images_than_said_are_a_programming_error(tmp_path, images):
    with pytest.raises(ValueError, match="are not equally many for each of 4 images"):
        write_scores(tmp_path / "a.parquet", pd.DataFrame({"image": images}), Images(), slice(0, 4))
    assert list(tmp_path.iterdir()) == []


def test_a_table_that_is_gone_beside_its_record_is_told(tmp_path):
    (tmp_path / "boxes.json").write_text('{"identity": ""}')
    with pytest.raises(CamstudyError, match=r"boxes\.parquet: no such file, though .*boxes\.json is there"):
        read_tables([("net", "a")], [tmp_path / "boxes.json"])
