"""What long work calls to say how far it is; knows nothing of how that is shown."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], object]
"""Called with how much is done and how much there is in all, 0 while that is not known."""

StageProgress = Callable[[str, int, int], object]
"""Called with the stage of the work, how much of it is done and in all."""

RowsProgress = Callable[[str, int, int, int], object]
"""Called as `StageProgress` is, and with the rows so far."""

Advance = Callable[[int], object]
"""Called with how much was done since the last call."""
