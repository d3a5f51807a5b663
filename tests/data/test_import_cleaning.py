"""Gaps, resampling and smoothing of imported recordings."""

from __future__ import annotations

import numpy as np
import pytest

from simmc.data.importing.clean import cleaned, filled, resampled, smoothed
from simmc.data.importing.description import Description
from simmc.data.importing.recording import Body
from simmc.errors import UserError


def test_gaps_up_to_the_limit_are_filled_on_a_straight_line():
    line = np.arange(20.0)[:, None, None] * np.ones((1, 2, 3))
    holes = line.copy()
    holes[3:5, 0], holes[8:12, 0], holes[:2, 1] = np.nan, np.nan, np.nan
    found = filled(holes, np.isnan(holes).any(2), 2)
    assert np.allclose(found[3:5, 0], line[3:5, 0])
    assert np.isnan(found[8:12, 0]).all() and np.isnan(found[:2, 1]).all()
    assert np.array_equal(found[12:], line[12:])


def test_resampling_is_exact_on_straight_lines_and_leaves_holes():
    times = np.array([0, 0.1, 0.2, 0.3, 0.9, 1.0])
    xyz = times[:, None, None] * np.ones((1, 1, 3))
    found, at = resampled(xyz, times, 20, longest=0.25)
    assert len(at) == 21 and np.allclose(np.diff(at), 0.05)
    hole = (at > 0.3 + 1e-9) & (at < 0.9 - 1e-9)
    assert np.isnan(found[hole]).all() and np.allclose(found[~hole][:, 0, 0], at[~hole])


def test_smoothing_removes_fast_waves_and_keeps_slow_ones_and_holes():
    t = np.arange(300) / 30
    slow, fast = 2 + np.sin(2 * np.pi * t), np.sin(2 * np.pi * 12 * t)
    xyz = np.repeat((slow + fast)[:, None, None], 3, axis=2)
    xyz[150] = np.nan
    found = smoothed(xyz, 30, 5)
    inner = np.r_[20:130, 170:280]
    assert np.abs(found[inner, 0, 0] - slow[inner]).max() < 0.1
    assert np.isnan(found[150]).all() and np.isfinite(found).sum() == 299 * 3
    body = Body("w", xyz, ("a",))
    with pytest.raises(UserError, match="frame rate"):
        cleaned(body, Description(smooth=5))
    assert np.array_equal(cleaned(body, Description())[0].xyz, xyz, equal_nan=True)
