"""Division of a dataset into parts: every image once, whole chunks, even sizes."""

import pytest

from camstudy.errors import CamstudyError
from camstudy.parts import by_key, part_names, part_slice


@pytest.mark.parametrize(("n", "chunk", "count"), [(1, 1, 1), (22, 8, 3), (22, 8, 2), (50_000, 256, 17), (640, 64, 10)])
def test_parts_cover_all_images_once_in_whole_chunks(n, chunk, count):
    slices = [part_slice(name, n, chunk) for name in part_names(count)]
    assert [image for part in slices for image in range(n)[part]] == list(range(n))
    assert all(part.start % chunk == 0 for part in slices)
    chunks = [-(-(part.stop - part.start) // chunk) for part in slices]
    assert max(chunks) - min(chunks) <= 1
    assert min(chunks) >= 1


def test_names_sort_as_numbers():
    names = part_names(12)
    assert (names[0], names[-1]) == ("/01-of-12", "/12-of-12")
    assert sorted(names) == names
    assert part_names(1) == [""]


def test_more_parts_than_chunks_are_refused():
    with pytest.raises(CamstudyError, match=r"22 images in chunks of 8 cannot be divided into 4 parts; .* at most 3"):
        part_slice("/1-of-4", 22, 8)


def test_files_by_key():
    assert by_key([("a", "x"), ["a", "y"], ["a", "x"]], "pqr") == {("a", "x"): ["p", "r"], ("a", "y"): ["q"]}
    with pytest.raises(ValueError, match="argument 2"):
        by_key([("a", "x")], "pq")
