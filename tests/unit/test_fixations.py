"""Fixations with observers and order, in the files of their distributors and in one's own, and what damages these."""

import shutil

import numpy as np
import pytest
from trees import (
    GAZE_TABLE,
    LOOKS,
    SIZES,
    cat2000,
    gaze_table,
    matlab,
    mit1003,
    mit1003_observers,
    picture,
    put,
    salicon,
)

from camstudy.core.errors import CamstudyError
from camstudy.data.dataset import ATTRIBUTES, open_dataset
from camstudy.data.digits import ANNOTATORS, FIXATIONS, SIZE, make_scene
from camstudy.data.formats.clickme import ClickMe, encode_example
from camstudy.data.formats.eyetracking import find_fixations
from camstudy.data.formats.files import Files
from camstudy.data.formats.gaze import fixation_density, read_cat2000, read_mit1003, read_salicon
from camstudy.data.formats.gaze_table import read_table
from camstudy.data.formats.photographs import write_photographs
from camstudy.data.formats.tfrecord import write_shard
from camstudy.data.sources import SOURCES
from camstudy.data.writing import write_dataset


def rests(samples, least, dispersion):
    """I-DT, as it is stated: the longest window from each start whose ranges add up to little enough."""
    found, start = [], 0
    while start + least <= len(samples):
        stop = start
        while stop < len(samples):
            window = samples[start : stop + 1]
            if not np.isfinite(window).all() or (window < 0).any() or np.ptp(window, axis=0).sum() > dispersion:
                break
            stop += 1
        if stop - start >= least:
            found.append((start, stop))
            start = stop
        else:
            start += 1
    return found


def test_fixations_are_found_by_dispersion():
    rng = np.random.default_rng(0)
    places = rng.uniform(100, 900, (12, 2))
    samples = np.concatenate([place + rng.normal(0, 8, (rng.integers(5, 60), 2)) for place in places])
    samples[70:75], samples[200] = -1, np.nan
    expected = rests(samples, 24, 70)
    assert len(expected) > 5
    centres, durations = find_fixations(samples)
    np.testing.assert_allclose(centres, [np.median(samples[start:stop], axis=0) for start, stop in expected])
    np.testing.assert_allclose(durations, [(stop - start) / 0.24 for start, stop in expected])


@pytest.mark.parametrize("samples", [np.empty((0, 2)), np.full((500, 2), -1.0), np.ones((23, 2))])
def test_an_eye_that_does_not_rest_has_no_fixations(samples):
    centres, durations = find_fixations(samples)
    assert centres.shape == (0, 2)
    assert durations.shape == (0,)


@pytest.mark.parametrize("packed", [False, True])
def test_mit1003_has_observers_and_order(tmp_path, packed):
    """The rest on the mark is gone, as is what lies outside; leftovers of macOS are not there."""
    _, photographs = mit1003_observers(tmp_path, packed)
    assert [item.name.split("/")[-1] for item in photographs] == ["one.jpeg", "two.jpeg"]
    first, second = photographs
    # Observers in alphabetical order: ajs, hp. Image `two` is too narrow for column 51.
    assert first.fixations.tolist() == [[10, 50], [10, 50], [30, 5]]
    assert first.observers.tolist() == [0, 1, 1]
    assert first.orders.tolist() == [1, 1, 2]
    np.testing.assert_allclose(first.durations, 125)
    assert first.outside == 1
    assert second.fixations.tolist() == [[30, 5]]
    assert (second.observers.tolist(), second.orders.tolist(), second.outside) == ([1], [2], 3)


def test_mit1003_without_observers_has_points(tmp_path):
    mit1003(tmp_path)
    assert read_mit1003(tmp_path)[1][0].orders is None
    mit1003_observers(tmp_path)
    assert read_mit1003(tmp_path)[1][0].orders is not None


def test_an_observer_who_has_not_seen_an_image(tmp_path):
    mit1003_observers(tmp_path)
    (tmp_path / "DATA/ajs/one.mat").unlink()
    first = read_mit1003(tmp_path)[1][0]
    assert first.observers.tolist() == [1, 1]


def test_long_names_of_images_are_cut_off_by_matlab(tmp_path):
    name = "i" * 70
    trial = {"DATA": {"eyeData": np.ones((100, 2)) * 20}}
    contents = {f"ALLSTIMULI/{name}.jpeg": picture(40, 64), f"DATA/hp/{name}.mat": matlab(**{"i" * 31: trial})}
    put(tmp_path, contents, packed=False)
    assert read_mit1003(tmp_path)[1][0].fixations.shape == (0, 2)


def test_salicon_has_order(tmp_path):
    _, photographs = salicon(tmp_path)
    for item in photographs:
        count = len(item.fixations)
        assert item.orders.tolist() == [*range(count - 1), 0]
        assert (item.durations == -1).all()
        assert item.outside == 1


def test_table(tmp_path):
    gaze_table(tmp_path)
    files, photographs = read_table(tmp_path, "fixations.csv")
    found = {item.name: item for item in photographs}
    assert [*found] == ["one.jpg", "three.jpg", "two.jpg"]
    one = found["one.jpg"]
    assert one.fixations.tolist() == [[10.5, 50.5], [30.5, 5.5], [10.5, 50.5]]
    assert (one.observers.tolist(), one.orders.tolist(), one.durations.tolist()) == (
        [0, 0, 1],
        [0, 1, 0],
        [310, -1, 150],
    )
    assert one.outside == 1
    assert found["two.jpg"].observers.tolist() == [0]
    assert len(found["three.jpg"].fixations) == 0
    assert files.read("one.jpg") == picture(*SIZES["one"])


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_tables_as_spreadsheets_export_them(tmp_path, delimiter):
    gaze_table(tmp_path)
    expected = read_table(tmp_path, "fixations.csv")[1]
    (tmp_path / "fixations.csv").write_bytes(b"\xef\xbb\xbf" + GAZE_TABLE.replace(",", delimiter).encode())
    for one, other in zip(read_table(tmp_path, "fixations.csv")[1], expected, strict=True):
        assert one.name == other.name
        for name in ("fixations", "observers", "orders", "durations"):
            assert np.array_equal(getattr(one, name), getattr(other, name))


def test_table_without_durations(tmp_path):
    lines = [line.rsplit(",", 1)[0] for line in GAZE_TABLE.splitlines()]
    gaze_table(tmp_path, "\n".join(lines))
    (one, *_) = read_table(tmp_path, "fixations.csv")[1]
    assert (one.durations == -1).all()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("observer,", "", r"fixations\.csv, line 1: has no column observer, but image, order"),
        ("two.jpg,anna,3,10.5", "two.jpg,anna,3,far", r"fixations\.csv, line 2: `x` is 'far', expected a number"),
        ("50.5,200", "nan,200", r"fixations\.csv, line 2: `y` is 'nan', expected a number"),
        ("one.jpg,anna,2", "one.jpg,anna,1", r"line 4: a second fixation of order 1 of observer 'anna'"),
        ("one.jpg,bert,1", "on.jpg,bert,1", r"fixations\.csv, line 5: there is no image 'on\.jpg'"),
        ("duration", "durations", r"line 1: has a column `durations`, did you mean `duration`\? Correct its name"),
        ("10.5,150", "10.5,-5", r"fixations\.csv, line 5: `duration` is '-5', expected milliseconds, or nothing"),
        ("10.5,150", "10.5,150,9", r"fixations\.csv, line 5: has 7 values for 6 columns"),
        ("50.5,200", '"50,5",200', r"line 2: `y` is '50,5', with a comma as decimal point; export .* as in '50\.5'"),
    ],
)
def test_damage_of_a_table_is_named_with_its_line(tmp_path, old, new, message):
    assert old in GAZE_TABLE
    gaze_table(tmp_path, GAZE_TABLE.replace(old, new, 1))
    with pytest.raises(CamstudyError, match=message):
        read_table(tmp_path, "fixations.csv")


def test_other_damage_of_a_table(tmp_path):
    gaze_table(tmp_path)
    (tmp_path / "one.jpg").write_bytes(picture(*SIZES["one"])[:-400])
    with pytest.raises(CamstudyError, match=r"one\.jpg: cannot be decoded"):
        read_table(tmp_path, "fixations.csv")
    (tmp_path / "fixations.csv").write_bytes(b"image,observer\xff")
    with pytest.raises(CamstudyError, match=r"fixations\.csv: is no text in UTF-8"):
        read_table(tmp_path, "fixations.csv")
    (tmp_path / "fixations.csv").unlink()
    with pytest.raises(CamstudyError, match=r"fixations\.csv not found; put images and fixations\.csv there"):
        SOURCES["gaze_table"].read({"table": "fixations.csv", "sigma": 3}, tmp_path)


@pytest.mark.parametrize(
    ("make", "read", "name"),
    [
        (mit1003_observers, read_mit1003, "DATA/hp/one.mat"),
        (salicon, read_salicon, "fixations/train/COCO_train2014_one.mat"),
        (cat2000, read_cat2000, "trainSet/FIXATIONLOCS/Action/001.mat"),
    ],
)
def test_damage_of_matlab_files_is_named(tmp_path, make, read, name):
    make(tmp_path)
    whole, file = (tmp_path / name).read_bytes(), name.split("/")[-1]
    for content, message in (
        (b"MATLAB 7.3 MAT-file, Platform: GLNXA64" + bytes(500), "is a MATLAB 7.3 file.* save it with `-v7`"),
        (whole[: len(whole) // 2], "not a MATLAB file"),
        (b"", "is an empty file, expected a MATLAB file"),
        (matlab(something=[1, 2]), "has no struct with|not a MATLAB file with"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CamstudyError, match=f"{file}: .*({message})"):
            read(tmp_path)


@pytest.mark.parametrize("damage", [{}, {"DATA": 3}, {"DATA": {"eyeData": [[1.0], [2.0]]}}, {"DATA": {"other": 1}}])
def test_damage_of_samples_is_named(tmp_path, damage):
    mit1003_observers(tmp_path)
    (tmp_path / "DATA/hp/one.mat").write_bytes(matlab(one={"imgName": "one.jpeg"} | damage))
    with pytest.raises(CamstudyError, match=r"DATA, hp/one\.mat: has no struct with `DATA\(1\)\.eyeData`"):
        read_mit1003(tmp_path)


def test_images_that_nobody_looked_at_are_named(tmp_path):
    mit1003_observers(tmp_path)
    for observer in LOOKS:
        (tmp_path / f"DATA/{observer}/two.mat").unlink()
    with pytest.raises(CamstudyError, match=r"ALLSTIMULI: no fixations of 1 images, such as two\.jpeg"):
        read_mit1003(tmp_path)
    shutil.rmtree(tmp_path / "ALLSTIMULI")
    with pytest.raises(CamstudyError, match="ALLSTIMULI not found"):
        read_mit1003(tmp_path)


def test_leftovers_in_archives_and_folders_are_not_there(tmp_path):
    contents = {f"a/{name}": b"x" for name in ("1.jpg", "._1.jpg", ".DS_Store", "__MACOSX/a/1.jpg", ".svn/1.jpg")}
    put(tmp_path, contents, packed=True)
    put(tmp_path, contents, packed=False)
    assert [*Files(tmp_path / "a.zip").sizes] == ["a/1.jpg"]
    assert [*Files(tmp_path / "a").sizes] == ["1.jpg"]


def test_stores_hold_observers_order_and_duration(tmp_path, capsys):
    (tmp_path / "raw").mkdir()
    gaze_table(tmp_path / "raw")
    found = SOURCES["gaze_table"].read({"table": "fixations.csv", "sigma": 3}, tmp_path / "raw")
    about = {"attrs": dict.fromkeys(ATTRIBUTES), "identity": "f", "chunk": 2, "density": found.density}
    write_photographs(tmp_path / "data.json", found.files, found.photographs, **about)
    assert "1 fixations lie outside of their images" in capsys.readouterr().out
    dataset = open_dataset(tmp_path / "data.json")
    for index, item in enumerate(found.photographs):
        for read, stated in (
            (dataset.fixations, item.fixations),
            (dataset.observers, item.observers),
            (dataset.orders, item.orders),
            (dataset.durations, item.durations),
        ):
            np.testing.assert_array_equal(read([index])[0], stated)
    np.testing.assert_allclose(
        dataset.human_map([0])[0], fixation_density(found.photographs[0].fixations, SIZES["one"], 3), rtol=1e-6
    )
    assert not dataset.human_map([1]).any()


def test_scenes_have_simulated_fixations_of_their_own(tmp_path):
    """Of ten annotators who look near the centre first and then at the digit; the scene is the same without."""
    scenes = [make_scene("val", index, 0) for index in range(6)]
    assert np.array_equal(scenes[3].fixations, make_scene("val", 3, 0).fixations)
    on_digit = []
    for scene in scenes:
        observer, order, row, column, duration = scene.fixations.T
        np.testing.assert_array_equal(observer, np.repeat(np.arange(ANNOTATORS), FIXATIONS))
        np.testing.assert_array_equal(order, np.tile(np.arange(FIXATIONS), ANNOTATORS))
        assert np.abs(np.stack([row, column])[:, order == 0] - SIZE / 2).max() < 80
        assert duration.min() > 50
        assert duration.max() < 1200
        later = scene.fixations[order > 0, 2:4].astype(int)
        top, left, bottom, right = scene.boxes[0]
        on_digit.append(((later >= (top, left)) & (later < (bottom, right))).all(1).mean())
    assert np.mean(on_digit) > 0.75
    write_shard(
        tmp_path / "0.tfrecord",
        (encode_example(s.image, s.heatmap, s.label, fixations=s.fixations) for s in scenes),
    )
    shard = ClickMe([tmp_path / "0.tfrecord"], num_classes=10)
    about = {"n": 6, "attrs": dict.fromkeys(ATTRIBUTES), "identity": "f", "chunk": 4}
    write_dataset(tmp_path / "data.json", lambda part: shard.read(range(6)[part]), **about, fixations=80)
    dataset = open_dataset(tmp_path / "data.json")
    for index, scene in enumerate(scenes):
        np.testing.assert_array_equal(dataset.fixations()[index], scene.fixations[:, 2:4])
        np.testing.assert_array_equal(dataset.durations()[index], scene.fixations[:, 4])
    with pytest.raises(CamstudyError, match=r"0\.tfrecord, record 0: has 80 fixations, expected 70"):
        write_dataset(tmp_path / "x.json", lambda part: shard.read(range(6)[part]), **about, fixations=70)


@pytest.mark.parametrize(("values", "message"), [([1, 2, 3], "holds 12 bytes"), ([0, 0, 300, 5, 1], "outside of 256")])
def test_damage_of_fixations_in_shards_is_named(tmp_path, values, message):
    scene = make_scene("val", 0, 0)
    write_shard(tmp_path / "0.tfrecord", [encode_example(scene.image, scene.heatmap, 0, fixations=np.array(values))])
    with pytest.raises(CamstudyError, match=rf"0\.tfrecord, record 0: `fixations` .*{message}"):
        [*ClickMe([tmp_path / "0.tfrecord"], num_classes=10).read([0])]
