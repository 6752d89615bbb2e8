"""Ctrl-C in the process of the command `nvmc`: one line, no traceback, at any moment.

Python raises KeyboardInterrupt wherever it is, which is not always safe or seen: a module half
imported, a callback out of onnxruntime that cannot pass it on, a destructor that swallows it. So:

- while there is nothing to put away (`Loading`, and before `begin`) the process ends on the spot;
- while modules load or onnxruntime calls us, it is raised as soon as that is over;
- one that was swallowed is raised again.

A second Ctrl-C ends the process on the spot. Only the standard library is imported: this is the
first thing that the command loads.
"""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False  # `typing` would take time to load
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, NoReturn

__all__ = [
    "EXIT_CODE",
    "NOTHING_HALF",
    "Loading",
    "begin",
    "end",
    "install",
    "interrupted",
    "leave",
]

EXIT_CODE = 130
"""Of a command that Ctrl-C ended, as shells have it: 128 and the signal's number."""
NOTHING_HALF = "nothing was left half-written; the same command starts anew"
"""What to say of a command that keeps nothing on its way."""

_AGAIN_S = 0.01
"""How long to wait where it cannot be raised now."""
_CALLED_BACK = "nvmc.runtime.provider."
"""Modules whose functions onnxruntime calls."""


class _State:
    """What the process is doing, and whether it was interrupted."""

    begun = False
    presses = 0
    raised = False


_state = _State()


def install() -> None:
    """Take Ctrl-C over from Python; not where whoever started the process has it ignored."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _pressed)
        signal.signal(signal.SIGALRM, _raise)
        sys.unraisablehook = _unraisable


def begin() -> None:
    """From now on there may be something to put away: KeyboardInterrupt is raised."""
    _state.begun = True


def end() -> None:
    """The answer is out: Ctrl-C comes too late, while the interpreter ends as at all times."""
    if signal.getsignal(signal.SIGINT) is _pressed:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGALRM, signal.SIG_IGN)


class Loading:
    """In the block, which loads modules, there is nothing to put away yet."""

    def __enter__(self) -> None:
        self._before, _state.begun = _state.begun, False

    def __exit__(self, *_: object) -> None:
        _state.begun = self._before


def interrupted(error: BaseException) -> bool:
    """Whether `error` is Ctrl-C, or came after it: native code may turn it into another one."""
    return isinstance(error, KeyboardInterrupt) or _state.raised


def leave(message: str = "", code: int = EXIT_CODE) -> NoReturn:
    """End the process without another Python instruction, threads in native code and all.

    Args:
        message: What to say on standard error.
        code: Its exit code.
    """
    try:
        os.write(2, message.encode())
    except OSError:  # it may be closed
        pass
    os._exit(code)


def _pressed(number: int, frame: FrameType | None) -> None:
    _state.presses += 1
    if not _state.begun:
        leave("nvmc: error: interrupted while it was starting; nothing was done\n")
    if _state.presses > 1:
        leave(
            "nvmc: error: interrupted twice; what was complete is kept, but temporary files may be "
            "left\n"
        )
    _raise(number, frame)


def _raise(number: int, frame: FrameType | None) -> None:
    if _is_unsafe(frame):
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_S)
        return
    _state.raised = True
    raise KeyboardInterrupt


def _is_unsafe(frame: FrameType | None) -> bool:
    """Whether an exception would leave a module half imported, or get lost in onnxruntime."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        if str(frame.f_globals.get("__name__")).startswith(_CALLED_BACK):
            return True
        frame = frame.f_back
    return False


def _unraisable(lost: Any) -> None:
    if isinstance(lost.exc_value, KeyboardInterrupt):
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_S)
    else:
        sys.__unraisablehook__(lost)
