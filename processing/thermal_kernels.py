"""Small compiled pieces that the thermal modules share: samples between pixels, linear systems, order."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True, nogil=True)
def is_inside(height: int, width: int, x: float, y: float) -> bool:
    """Whether a point lies between pixel centres of the picture; false for NaN."""
    return bool(x >= 0.0 and y >= 0.0 and x <= width - 1.0 and y <= height - 1.0)


@njit(cache=True, nogil=True)
def bilinear(image: NDArray[Any], x: float, y: float) -> float:
    """Value between the pixels; the point `is_inside`."""
    u = min(int(x), image.shape[1] - 2)
    v = min(int(y), image.shape[0] - 2)
    fx = x - u
    fy = y - v
    above = (1.0 - fx) * image[v, u] + fx * image[v, u + 1]
    below = (1.0 - fx) * image[v + 1, u] + fx * image[v + 1, u + 1]
    return float((1.0 - fy) * above + fy * below)


@njit(cache=True, nogil=True)
def solve_positive(matrix: NDArray[np.float64], vector: NDArray[np.float64]) -> bool:
    """Solve ``matrix @ x = vector`` in place (x replaces `vector`), matrix symmetric, its lower half given.

    Cholesky's method; false when the matrix is not positive definite.
    """
    n = len(vector)
    for j in range(n):
        pivot = matrix[j, j]
        for k in range(j):
            pivot -= matrix[j, k] * matrix[j, k]
        if not pivot > 1e-12:
            return False
        matrix[j, j] = np.sqrt(pivot)
        for i in range(j + 1, n):
            rest = matrix[i, j]
            for k in range(j):
                rest -= matrix[i, k] * matrix[j, k]
            matrix[i, j] = rest / matrix[j, j]
    for i in range(n):
        for k in range(i):
            vector[i] -= matrix[i, k] * vector[k]
        vector[i] /= matrix[i, i]
    for i in range(n - 1, -1, -1):
        for k in range(i + 1, n):
            vector[i] -= matrix[k, i] * vector[k]
        vector[i] /= matrix[i, i]
    return True


@njit(cache=True, nogil=True)
def sort_in_place(values: NDArray[np.float64], count: int) -> None:
    """Shell sort of the first `count` values: regions have tens to hundreds of samples."""
    step = count // 2
    while step > 0:
        for i in range(step, count):
            value = values[i]
            j = i
            while j >= step and values[j - step] > value:
                values[j] = values[j - step]
                j -= step
            values[j] = value
        step //= 2


@njit(cache=True, nogil=True)
def quantile(ordered: NDArray[np.float64], count: int, share: float) -> float:
    """The quantile of the first `count` values, which are in order; linear between them."""
    position = share * (count - 1)
    below = int(position)
    if below >= count - 1:
        return float(ordered[count - 1])
    return float(ordered[below] + (position - below) * (ordered[below + 1] - ordered[below]))
