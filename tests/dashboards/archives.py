"""Run by Graphite's own Python: reads series from standard input, writes them as whisper files.

Three hours at a time, half of what the first archive holds, so that the coarser archives are rolled
up by whisper itself from all there is. A second name of a series is a link.
"""

import os
import pickle
import sys

import whisper  # type: ignore[import-not-found]  # of the other Python

ARCHIVES = [(10, 6 * 360), (60, 6 * 1440), (600, 1800 * 144)]
"""Seconds a point, and points: `10s:6h,1m:6d,10m:1800d`."""


def write(path, method, points):
    """One file; `points` are (epoch seconds, value), all of them values."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    whisper.create(path, ARCHIVES, 0.0, method, sparse=True)
    at_once = ARCHIVES[0][1] // 2
    for start in range(0, len(points), at_once):
        some = points[start : start + at_once]
        whisper.update_many(path, some, now=some[-1][0])


for paths, method, points in pickle.load(sys.stdin.buffer):
    write(paths[0], method, points)
    for path in paths[1:]:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.link(paths[0], path)
