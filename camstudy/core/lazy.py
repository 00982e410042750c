"""Arrays that xarray reads when they are used: what dask would be needed for, where several stores are read as one."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import DTypeLike
from xarray import Variable
from xarray.backends import BackendArray
from xarray.core.indexing import ExplicitIndexer, IndexingSupport, LazilyIndexedArray, explicit_indexing_adapter

Read = Callable[..., np.ndarray]


class _Unread(BackendArray):
    """An array of which xarray asks for parts."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype, read: Read, asked: int) -> None:
        self.shape, self.dtype, self._read, self._asked = shape, dtype, read, asked

    def __getitem__(self, key: ExplicitIndexer) -> np.ndarray:
        return explicit_indexing_adapter(key, self.shape, IndexingSupport.OUTER, self._outer)

    def _outer(self, keys: tuple[int | slice | np.ndarray, ...]) -> np.ndarray:
        wanted = [np.arange(length)[key] for length, key in zip(self.shape, keys, strict=True)]
        values = self._read(*map(np.atleast_1d, wanted[: self._asked]))
        for axis, positions in enumerate(wanted[self._asked :], self._asked):
            key = slice(positions, positions + 1) if positions.ndim == 0 else keys[axis]
            values = values[(slice(None),) * axis + (key,)]
        # Squeezed, an array of arrays stays one, even of a single image.
        return np.squeeze(values, tuple(axis for axis, positions in enumerate(wanted) if positions.ndim == 0))


def lazy(dims: Sequence[str], shape: Sequence[int], dtype: DTypeLike, read: Read, *, asked: int = 1) -> Variable:
    """Return a variable that is read when its values are used, and of which only what was selected is read.

    Nothing is kept: values that are used twice are read twice, unless `load` was called.

    Parameters
    ----------
    dims, shape, dtype : of the whole
    read : called with positions, integers (k,), for each of the first ``asked`` dimensions; returns what is there, all
        pairs of them and the other dimensions whole

    >>> squares = lazy(["x"], [1000], int, lambda x: x**2)
    >>> squares[[3, 30]].values.tolist(), squares[-1].item()
    ([9, 900], 998001)
    """
    return Variable(tuple(dims), LazilyIndexedArray(_Unread(tuple(shape), np.dtype(dtype), read, asked)))
