"""benchmarks/flame.py"""

import xml.etree.ElementTree as ElementTree

from benchmarks.flame import Stack, drawn, layer, parsed, shares

FLUSH = ("run (uvloop/__init__.py:92)", "Loop__run (loop.c)", "Room.flush (relay/room/room.py:310)")


def test_layers() -> None:
    """A send is the kernel's, whoever asked for it; the interpreter's own work is that of the module that it runs."""
    assert layer((*FLUSH, "UVStream_write (loop.c)", "__libc_send (libc.so.6)")) == "send"
    assert layer((*FLUSH, "_PyDict_Lookup (dictobject.c)")) == "relay.room.room"
    assert layer(FLUSH) == "relay.room.room"
    assert layer(("Loop__run (uvloop/loop.c)", "recv (libc.so.6)")) == "read"
    assert layer(("Loop__run (uvloop/loop.c)", "epoll_pwait (libc.so.6)")) == "wait"
    assert layer(("_worker (threading.py:81)", "PyThread_acquire_lock_timed (libpython3.11.so)")) == "wait"
    assert layer(("run (uvloop/__init__.py:92)", "uv__io_poll (uvloop/loop.so)")) == "wait"
    assert layer(("start_thread (libc.so.6)",)) == "other"


def test_a_python_function_that_is_called_send() -> None:
    """It is not the kernel."""
    assert layer(("Fanout.send (relay/room/fanout.py:80)",)) == "relay.room.fanout"


def test_shares_of_samples() -> None:
    """By how often they were seen; what can't be read is passed over."""
    stacks = parsed("a (x.c);send (libc.so.6) 3\nb (relay/yjs/merge.py:1) 1\n\nnonsense\n")
    assert [stack.count for stack in stacks] == [3, 1]
    assert shares(stacks) == {"send": 0.75, "relay.yjs.merge": 0.25}


def test_drawing() -> None:
    """Every frame that is wide enough is there, with its share, and names are escaped."""
    picture = drawn([Stack(("main", "<lambda> (a.py:1)"), 3), Stack(("main", "b"), 1)], "a & b")
    titles = [element.text for element in ElementTree.fromstring(picture).iter() if element.tag.endswith("title")]
    assert titles == ["main 100.0%", "<lambda> (a.py) 75.0%", "b 25.0%"]
