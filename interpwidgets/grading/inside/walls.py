"""What a process takes from itself before it runs somebody else's code.

    keeper: leave(user)         another user and group, namespaces of its own; forks the child
    child:  enclose(limits)     files, descriptors, limits, capabilities, system calls: in this order, for good

    ┌ bubblewrap: its own files (read-only), processes, network ─────────────────────────────────┐
    │  warm process ──fork──> keeper ──fork──> child: process 1 of its own namespace             │
    │  imports only           kills, counts    own user, processes, mounts, network, ipc         │
    │                                          /tmp and /dev/shm of its own, no /proc            │
    │                                          no capabilities, refused system calls             │
    └────────────────────────────────────────────────────────────────────────────────────────────┘

The child sees no process but itself: not the keeper, not the warm process, not another child. What it writes goes with
it.
"""

import ctypes
import itertools
import os
import resource
import signal
from contextlib import suppress
from pathlib import Path

from interpwidgets.grading.inside import TEMPORARY, syscalls

_NAMESPACES = 0x10000000 | 0x00020000 | 0x20000000 | 0x40000000 | 0x08000000 | 0x04000000 | 0x02000000
# CLONE_NEWUSER       NEWNS        NEWPID       NEWNET       NEWIPC       NEWUTS       NEWCGROUP
_NOSUID, _NODEV, _RDONLY, _REC, _PRIVATE = 0x02, 0x04, 0x01, 0x4000, 0x40000
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_CAPBSET_DROP, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 1, 4, 24, 47, 4
_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


class Wall(OSError):
    """A wall that this machine does not put up; the message names it."""


def _call(what: str, *arguments: object) -> None:
    name, *rest = arguments
    if getattr(_libc, str(name))(*rest) < 0:
        number = ctypes.get_errno()
        raise Wall(number, f"{what}: {os.strerror(number)}")


def quiet() -> None:
    """No other process may look into this one, and none finds a core dump of it."""
    _call("hiding a process", "prctl", _PR_SET_DUMPABLE, 0, 0, 0, 0)


def leave(user: int | None) -> None:
    """Become ``user``, if that is not None; then enter namespaces of one's own. The next fork is process 1 in them."""
    if user is not None:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    _call("dying with the warm process", "prctl", _PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    me, group = os.getuid(), os.getgid()
    _call("own files in /proc", "prctl", _PR_SET_DUMPABLE, 1, 0, 0, 0)
    _call("namespaces inside the sandbox", "unshare", _NAMESPACES)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{me} {me} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    quiet()


def enclose(room: int, seconds: int, memory: int) -> None:
    """All walls round this process: ``room`` bytes of files, ``seconds`` of CPU, ``memory`` bytes more than now."""
    os.setsid()
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    _own_files(room)
    _limit(room, seconds, taken + memory)
    quiet()
    _powerless()
    syscalls.refuse()


def _own_files(room: int) -> None:
    """An empty folder of limited size for everything that can be written, and nothing of the kernel to read."""
    _call("own mounts", "mount", None, b"/", None, _REC | _PRIVATE, None)
    for place, options in (
        (TEMPORARY, f"size={room},nr_inodes=4096,mode=0700"),
        ("/dev/shm", f"size={room},nr_inodes=256,mode=0700"),  # noqa: S108
        ("/dev/pts", "size=4k,nr_inodes=2,mode=0500"),
        ("/proc", "size=4k,nr_inodes=2,mode=0500"),
    ):
        _call(f"own {place}", "mount", b"tmpfs", place.encode(), b"tmpfs", _NOSUID | _NODEV, options.encode())
    for place in ("/dev/pts", "/proc"):
        # a remount may only touch the flags; what the sandbox itself mounted is read-only already
        _call(f"own {place}", "mount", None, place.encode(), None, 0x20 | _RDONLY | _NOSUID | _NODEV, None)
    os.chdir(TEMPORARY)


def _limit(room: int, seconds: int, memory: int) -> None:
    limits = {
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_FSIZE: room,
        resource.RLIMIT_NOFILE: 64,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NPROC: 256,
        resource.RLIMIT_MEMLOCK: 1 << 20,
        resource.RLIMIT_MSGQUEUE: 0,
        resource.RLIMIT_SIGPENDING: 256,
        resource.RLIMIT_RTPRIO: 0,
    }
    for which, value in limits.items():
        hard = resource.getrlimit(which)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(which, (value, value))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a file that grows too large is an error like any other


def _powerless() -> None:
    """No capability, none to come."""
    for capability in range(64):
        with suppress(Wall):  # past the last that this kernel knows
            _call("giving up a capability", "prctl", _PR_CAPBSET_DROP, capability, 0, 0, 0)
    _call("giving up capabilities", "prctl", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    _call("giving up capabilities", "capset", header, (ctypes.c_uint32 * 6)())


def close_all_but(*kept: int) -> None:
    """Close every descriptor but these; 0, 1 and 2 become the empty device."""
    nothing = os.open("/dev/null", os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    edges = [2, *sorted(kept), os.sysconf("SC_OPEN_MAX")]
    for low, high in itertools.pairwise(edges):
        os.closerange(low + 1, high)
