"""The system calls that learner code may not make, as a program for the kernel (seccomp's classic BPF).

    refuse()            # from now on, in this process and for good

No new process (threads are fine), no other program, no look into another process, no signal to one, no socket but a
pair of one's own, no memory that outlives a mapping, no queues, no watches, no mounts, no namespaces, no code for the
kernel to load or run. ``clone3`` is "not implemented", so that the C library falls back to ``clone``, whose flags this
program can read. Calls of another architecture (32 bit, x32) end the process.

Source of the numbers: the kernel's tables ``arch/x86/entry/syscalls/syscall_64.tbl`` and ``asm-generic/unistd.h``; of
the layout: seccomp(2).
"""

import ctypes
import errno
import platform
import struct

_BOTH = {  # the same number everywhere: calls that came after 2019
    **{"pidfd_send_signal": 424, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427},
    **{"open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433},
    **{"pidfd_open": 434, "pidfd_getfd": 438, "process_madvise": 440, "mount_setattr": 442, "quotactl_fd": 443},
    **{"memfd_secret": 447, "process_mrelease": 448, "open_tree_attr": 467},
    **{"landlock_create_ruleset": 444, "landlock_add_rule": 445, "landlock_restrict_self": 446},
    **{"statmount": 457, "listmount": 458, "lsm_get_self_attr": 459, "lsm_set_self_attr": 460, "lsm_list_modules": 461},
}
_X86_64 = {
    **{"fork": 57, "vfork": 58, "execve": 59, "execveat": 322, "unshare": 272, "setns": 308},
    **{"mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161},
    **{"ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312},
    **{"kill": 62, "tkill": 200, "rt_sigqueueinfo": 129, "rt_tgsigqueueinfo": 297},
    **{"bpf": 321, "keyctl": 250, "add_key": 248, "request_key": 249, "perf_event_open": 298, "userfaultfd": 323},
    **{"socket": 41, "connect": 42, "accept": 43, "accept4": 288, "bind": 49, "listen": 50},
    **{"memfd_create": 319, "shmget": 29, "shmat": 30, "shmctl": 31, "shmdt": 67},
    **{"msgget": 68, "msgsnd": 69, "msgrcv": 70, "msgctl": 71},
    **{"semget": 64, "semop": 65, "semctl": 66, "semtimedop": 220},
    **{"mq_open": 240, "mq_unlink": 241, "mq_timedsend": 242, "mq_timedreceive": 243, "mq_notify": 244},
    **{"io_setup": 206, "io_destroy": 207, "io_getevents": 208, "io_submit": 209, "io_cancel": 210},
    **{"io_pgetevents": 333, "splice": 275, "tee": 276, "vmsplice": 278, "seccomp": 317},
    **{"inotify_init": 253, "inotify_add_watch": 254, "inotify_rm_watch": 255, "inotify_init1": 294},
    **{"init_module": 175, "finit_module": 313, "delete_module": 176, "kexec_load": 246, "kexec_file_load": 320},
    **{"reboot": 169, "swapon": 167, "swapoff": 168, "acct": 163, "quotactl": 179, "syslog": 103, "vhangup": 153},
    **{"name_to_handle_at": 303, "open_by_handle_at": 304, "fanotify_init": 300, "lookup_dcookie": 212},
    **{"personality": 135, "move_pages": 279, "migrate_pages": 256, "uselib": 134, "iopl": 172, "ioperm": 173},
    **{"modify_ldt": 154, "settimeofday": 164, "clock_settime": 227, "adjtimex": 159, "clock_adjtime": 305},
}
_ARM64 = {
    **{"execve": 221, "execveat": 281, "unshare": 97, "setns": 268},
    **{"mount": 40, "umount2": 39, "pivot_root": 41, "chroot": 51},
    **{"ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272},
    **{"kill": 129, "tkill": 130, "rt_sigqueueinfo": 138, "rt_tgsigqueueinfo": 240},
    **{"bpf": 280, "keyctl": 219, "add_key": 217, "request_key": 218, "perf_event_open": 241, "userfaultfd": 282},
    **{"socket": 198, "connect": 203, "accept": 202, "accept4": 242, "bind": 200, "listen": 201},
    **{"memfd_create": 279, "shmget": 194, "shmctl": 195, "shmat": 196, "shmdt": 197},
    **{"msgget": 186, "msgctl": 187, "msgrcv": 188, "msgsnd": 189},
    **{"semget": 190, "semctl": 191, "semtimedop": 192, "semop": 193},
    **{"mq_open": 180, "mq_unlink": 181, "mq_timedsend": 182, "mq_timedreceive": 183, "mq_notify": 184},
    **{"io_setup": 0, "io_destroy": 1, "io_submit": 2, "io_cancel": 3, "io_getevents": 4},
    **{"io_pgetevents": 292, "splice": 76, "tee": 77, "vmsplice": 75, "seccomp": 277},
    **{"inotify_init1": 26, "inotify_add_watch": 27, "inotify_rm_watch": 28},
    **{"init_module": 105, "finit_module": 273, "delete_module": 106, "kexec_load": 104, "kexec_file_load": 294},
    **{"reboot": 142, "swapon": 224, "swapoff": 225, "acct": 89, "quotactl": 60, "syslog": 116, "vhangup": 58},
    **{"name_to_handle_at": 264, "open_by_handle_at": 265, "fanotify_init": 262, "lookup_dcookie": 18},
    **{"personality": 92, "move_pages": 239, "migrate_pages": 238},
    **{"settimeofday": 170, "clock_settime": 112, "adjtimex": 171, "clock_adjtime": 266},
}
_MACHINES = {  # AUDIT_ARCH_..., the numbers of clone, clone3 and socketpair, the table
    "x86_64": (0xC000003E, 56, 435, 53, _X86_64),
    "aarch64": (0xC00000B7, 220, 435, 199, _ARM64),
}
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERROR, _END = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER, _MACHINE, _FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data; its low half comes first
_CLONE_THREAD = 0x00010000
_AF_UNIX = 1
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _FILTER = 38, 22, 2

KNOWN = tuple(_MACHINES)


def program(machine: str) -> bytes:
    """The filter for a kind of machine ("x86_64", "aarch64"), as an array of struct sock_filter."""
    audit, clone, clone3, socketpair, refused = _MACHINES[machine]
    lines = [
        _line(_LOAD, _MACHINE),
        _line(_EQUAL, audit, 1, 0),
        _line(_RETURN, _END),
        _line(_LOAD, _NUMBER),
        _line(_AT_LEAST, 0x40000000, 0, 1),  # x32 sets this bit
        _line(_RETURN, _END),
        _line(_EQUAL, clone3, 0, 1),
        _line(_RETURN, _ERROR | errno.ENOSYS),
        _line(_EQUAL, clone, 0, 4),
        _line(_LOAD, _FIRST_ARGUMENT),
        _line(_ANY_BIT, _CLONE_THREAD, 0, 1),
        _line(_RETURN, _ALLOW),
        _line(_RETURN, _ERROR | errno.EPERM),
        _line(_EQUAL, socketpair, 0, 4),
        _line(_LOAD, _FIRST_ARGUMENT),
        _line(_EQUAL, _AF_UNIX, 0, 1),
        _line(_RETURN, _ALLOW),
        _line(_RETURN, _ERROR | errno.EPERM),
    ]
    for number in sorted({*_BOTH.values(), *refused.values()}):
        lines += [_line(_EQUAL, number, 0, 1), _line(_RETURN, _ERROR | errno.EPERM)]
    return b"".join([*lines, _line(_RETURN, _ALLOW)])


def _line(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("=HBBI", code, yes, no, value)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("lines", ctypes.c_char_p))


def refuse() -> None:
    """Put the filter into force for this process and its threads to come. Raises `OSError` if the kernel will not."""
    libc = ctypes.CDLL(None, use_errno=True)
    code = program(platform.machine())
    given = _Program(len(code) // 8, code)
    for arguments in ((_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (_PR_SET_SECCOMP, _FILTER, ctypes.byref(given), 0, 0)):
        if libc.prctl(*arguments):
            raise OSError(ctypes.get_errno(), "the kernel takes no filter of system calls (seccomp)")
