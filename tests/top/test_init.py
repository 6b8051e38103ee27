"""The package itself: what only counts or paints needs no terminal."""

import subprocess
import sys

CODE = """
import sys
import celery_statsd.top.painter, celery_statsd.top.reel
print("curses" in sys.modules)
"""


def test_only_the_screen_needs_curses() -> None:
    """So the demo can do without, and say so."""
    told = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert "False\n" == told.stdout
