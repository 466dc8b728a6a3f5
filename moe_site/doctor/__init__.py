"""Looks at everything an installation needs, and says what to do about what is not as it should be.

finding.py is what is found, running.py asks everything side by side within a bounded time; the other modules each know
one part of the surroundings. None of them changes anything but modes.py, and none needs another to work.
"""
