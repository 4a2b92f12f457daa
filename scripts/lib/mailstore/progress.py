"""How far a script has come: one line on the terminal that is written over; nothing where nobody looks."""

import sys
import time

# Seconds between two lines.
PAUSE = 0.2


class Progress:
    """`show` may be called as often as one likes."""

    def __init__(self, stream=None):
        self.stream = stream or sys.stderr
        self.live = self.stream.isatty()
        self.began = time.monotonic()
        self.shown = 0.0
        self.width = 0

    def show(self, text, always=False):
        """Shows this in the place of what stood there."""
        now = time.monotonic()
        if not self.live or (now - self.shown < PAUSE and not always):
            return
        self.shown = now
        self.stream.write("\r" + text.ljust(self.width))
        self.stream.flush()
        self.width = len(text)

    def clear(self):
        """Makes room for a line of another kind."""
        if self.live and self.width:
            self.stream.write("\r" + " " * self.width + "\r")
            self.stream.flush()
            self.width = 0

    def seconds(self):
        """Since it began."""
        return time.monotonic() - self.began
