# ruff: noqa: PTH101, PTH104, PTH106, PTH108, PTH116, PTH208, S606
"""Process 1 of a container: takes tasks on standard input, runs them, cleans up between them.

The source of this file is what ``python3 -I -S -c`` gets, so it stands alone: standard library
only, nothing of ours. It protects units from the leftovers of earlier ones; the host protects
itself and believes nothing that is said here. As process 1 it cannot be killed from inside, and
every orphan becomes its child.
"""

from __future__ import annotations

# The module under signal, without the enumerations that cost 8 ms of every cold start.
import _signal as signal  # type: ignore[import-not-found]
import ctypes
import os
import resource
import select
import stat
import struct
import sys
import time

VERSION = 1
EXITED, CPU, WALL, MEMORY, OUTPUT = range(5)
CHUNK = 64 * 1024
TAIL = 16 * 1024
TICK = 0.1
SLACK = 1 << 20
SMALLEST_FSIZE = 32 << 20
SCRATCH = ("/out", "/tmp", "/dev/shm")
ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/tmp",
    "TMPDIR": "/tmp",
    "LANG": "C.UTF-8",
    "TZ": "UTC",
    # Two peers must get the same bytes from the same unit.
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
}
CPU_FILES = (
    ("/sys/fs/cgroup/cpu.stat", b"usage_usec", 1e6),
    ("/sys/fs/cgroup/cpuacct/cpuacct.usage", b"", 1e9),
    ("/sys/fs/cgroup/cpu,cpuacct/cpuacct.usage", b"", 1e9),
)
OOM_FILES = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")

_header = struct.Struct(">cI")
_task = struct.Struct(">ddQHHh")
_prctl = ctypes.CDLL(None, use_errno=True).prctl
_prctl.argtypes = (ctypes.c_int,) + (ctypes.c_ulong,) * 4


def set_dumpable(flag: int) -> None:
    """Whether other processes of this user may look into this one (prctl(2))."""
    if _prctl(4, flag, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def send(kind: bytes, payload: bytes) -> None:
    """Write one frame to the host."""
    data = _header.pack(kind, len(payload)) + payload
    while data:
        data = data[os.write(1, data) :]


def receive() -> Task | None:
    """Read one task from the host, or None when the host hung up."""
    head = read_exactly(_header.size)
    if head is None:
        return None
    _, length = _header.unpack(head)
    payload = read_exactly(length)
    if payload is None:
        return None
    return Task(payload)


def read_exactly(size: int) -> bytes | None:
    parts = []
    while size:
        data = os.read(0, min(size, CHUNK))
        if not data:
            return None
        parts.append(data)
        size -= len(data)
    return b"".join(parts)


class Task:
    """One unit, as the host described it."""

    def __init__(self, payload: bytes) -> None:
        cpu, wall, room, outputs, words, stdout = _task.unpack_from(payload)
        texts = [os.fsdecode(word) for word in payload[_task.size :].split(b"\0")]
        if len(texts) != outputs + words:
            raise ValueError("a task whose counts do not match its words")
        self.cpu, self.wall, self.room = cpu, wall, room
        self.outputs, self.command = texts[:outputs], texts[outputs:]
        self.stdout = None if stdout < 0 else self.outputs[stdout]


class Meter:
    """Reads what the whole container has used, where the kernel shows it."""

    def __init__(self) -> None:
        self.cpu_source: tuple[int, bytes, float] | None = None
        for path, word, scale in CPU_FILES:
            try:
                self.cpu_source = (os.open(path, os.O_RDONLY | os.O_CLOEXEC), word, scale)
                break
            except OSError:
                continue
        self.oom_source: int | None = None
        for path in OOM_FILES:
            try:
                self.oom_source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                break
            except OSError:
                continue

    def cpu(self) -> float:
        """CPU seconds of every process here so far, or 0 where nothing tells."""
        if self.cpu_source is None:
            return 0.0
        file, word, scale = self.cpu_source
        return number_after(os.pread(file, 4096, 0), word) / scale

    def kills(self) -> int:
        """How often the kernel killed for lack of memory."""
        if self.oom_source is None:
            return 0
        return number_after(os.pread(self.oom_source, 4096, 0), b"oom_kill")


def number_after(text: bytes, word: bytes) -> int:
    """The number on the line that begins with ``word`` (any line, when it is empty)."""
    for line in text.splitlines():
        fields = line.split()
        if fields and (not word or fields[0] == word):
            return int(fields[-1])
    return 0


class Unit:
    """One run of one task, from fork to the last process gone."""

    def __init__(self, task: Task, meter: Meter, wake: int) -> None:
        self.task, self.meter, self.wake = task, meter, wake
        self.tail = b""
        self.status = -1
        self.forced: int | None = None

    def run(self) -> None:
        """Run it; afterwards no process but this one is left."""
        self.began = time.monotonic()
        self.kills = self.meter.kills()
        self.cpu_base = self.meter.cpu()
        used = child_cpu()
        stdout = self.open_stdout()
        reader, writer = os.pipe()
        program = find_program(self.task.command[0])
        self.pid = os.fork()
        if not self.pid:
            become(self.task, program, stdout, writer)
        os.close(stdout)
        os.close(writer)
        self.watch(reader)
        kill_all()
        self.reap(0)
        self.drain(reader)
        os.close(reader)
        self.cpu_seconds = child_cpu() - used
        self.wall_seconds = time.monotonic() - self.began

    def open_stdout(self) -> int:
        if self.task.stdout is None:
            return os.open("/dev/null", os.O_WRONLY)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        return os.open("/out/" + self.task.stdout, flags, 0o600)

    def watch(self, reader: int) -> None:
        """Wait for the command to end, or for the moment to end it."""
        poll = select.poll()
        poll.register(self.wake, select.POLLIN)
        poll.register(reader, select.POLLIN)
        checked = self.began
        while self.status < 0 and self.forced is None:
            now = time.monotonic()
            left = self.began + self.task.wall - now
            if left <= 0:
                self.forced = WALL
                return
            if now - checked >= TICK:
                checked = now
                if self.meter.cpu() - self.cpu_base > self.task.cpu:
                    self.forced = CPU
                    return
                if self.meter.kills() > self.kills:
                    self.forced = MEMORY
                    return
            for file, _ in poll.poll(1000 * min(TICK, left)):
                if file == self.wake:
                    os.read(self.wake, 4096)
                    self.reap(os.WNOHANG)
                elif not self.keep(reader):
                    poll.unregister(reader)

    def keep(self, reader: int) -> bool:
        """Keep the tail of standard error; false at its end."""
        data = os.read(reader, CHUNK)
        self.tail = (self.tail + data)[-TAIL:]
        return bool(data)

    def drain(self, reader: int) -> None:
        while self.keep(reader):
            pass

    def reap(self, flags: int) -> None:
        """Collect dead children, ours and orphans; without flags until none is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, flags)
            except ChildProcessError:
                return
            if not pid:
                return
            if pid == self.pid:
                self.status = status

    def ending(self) -> int:
        """How it ended, before its outputs are looked at."""
        if self.meter.kills() > self.kills:
            return MEMORY
        if self.forced is not None:
            return self.forced
        if os.WIFSIGNALED(self.status):
            number = os.WTERMSIG(self.status)
            if number == signal.SIGXCPU:
                return CPU
            if number == signal.SIGXFSZ:
                return OUTPUT
            if number == signal.SIGKILL and self.cpu_seconds > self.task.cpu:
                return CPU
        return EXITED

    def exit_status(self) -> int:
        if os.WIFSIGNALED(self.status):
            return 128 + os.WTERMSIG(self.status)
        return os.WEXITSTATUS(self.status)


def become(task: Task, program: str, stdout: int, stderr: int) -> None:
    """In the child: give up everything of the harness and become the command."""
    try:
        os.setsid()
        os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        seconds = int(task.cpu) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        size = max(task.room + SLACK, SMALLEST_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        # The kernel must pick the program, never the harness, when memory runs out. Its own
        # score is writable only for a process that may be looked into.
        set_dumpable(1)
        try:
            score = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
            os.write(score, b"1000")
        except OSError:
            pass  # other kernels (gVisor) have their own way
        os.execve(program, task.command, ENVIRONMENT)
    except OSError as error:
        os.write(2, f"cannot run {task.command[0]}: {error.strerror}\n".encode(errors="replace"))
        os._exit(127 if error.errno == 2 else 126)
    except BaseException as error:
        os.write(2, f"cannot prepare the unit: {error!r}\n".encode(errors="replace"))
        os._exit(125)


def find_program(name: str) -> str:
    """Path of a program; os.execvpe would import a module in every child to find it."""
    if "/" not in name:
        for folder in ENVIRONMENT["PATH"].split(":"):
            if os.access(f"{folder}/{name}", os.X_OK):
                return f"{folder}/{name}"
        return "/absent"
    return name


def child_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def kill_all() -> None:
    """Kill every other process here: kill(2) of -1 spares the caller, and forks cannot race it."""
    try:  # noqa: SIM105 (contextlib would cost a millisecond of every cold start)
        os.kill(-1, signal.SIGKILL)
    except ProcessLookupError:
        pass


def open_output(path: str) -> int | None:
    """Open a regular file for reading, and nothing else; None for anything else."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        file = os.open(path, flags)
    except OSError:
        return None
    if stat.S_ISREG(os.fstat(file).st_mode):
        return file
    os.close(file)
    return None


def open_outputs(folder: str, names: list[str]) -> dict[int, tuple[int, int]]:
    """Descriptor and size of every declared output that is there: {index: (file, size)}."""
    files = {}
    for index, name in enumerate(names):
        file = open_output(f"{folder}/{name}")
        if file is not None:
            files[index] = (file, os.fstat(file).st_size)
    return files


def is_full(folder: str) -> bool:
    room = os.statvfs(folder)
    return (room.f_blocks > 0 and room.f_bavail == 0) or (room.f_files > 0 and room.f_favail == 0)


def stream(index: int, file: int, size: int) -> None:
    """Send one output, exactly ``size`` bytes of it."""
    send(b"F", struct.pack(">HQ", index, size))
    while size:
        data = os.read(file, min(CHUNK, size))
        if not data:
            raise OSError("an output shrank while nobody else was alive")
        send(b"D", data)
        size -= len(data)


def serve(task: Task, meter: Meter, wake: int) -> None:
    """Run one task and tell the host everything about it."""
    unit = Unit(task, meter, wake)
    unit.run()
    ending = unit.ending()
    files = open_outputs("/out", task.outputs) if ending == EXITED else {}
    if ending == EXITED and (
        is_full("/out") or sum(size for _, size in files.values()) > task.room
    ):
        ending = OUTPUT
    for index, (file, size) in files.items():
        if ending == EXITED:
            stream(index, file, size)
        os.close(file)
    cpu, wall = int(unit.cpu_seconds * 1e6), int(unit.wall_seconds * 1e6)
    send(b"E", struct.pack(">BBQQ", ending, unit.exit_status(), cpu, wall) + unit.tail)


def clear(folder: str) -> None:
    """Empty a folder however deep it is: folders are moved up to the top before they are removed,
    so that no path grows long and nothing recurses."""
    if os.stat(folder).st_uid == os.getuid():
        os.chmod(folder, 0o700)
    pending, count = [folder], 0
    while pending:
        place = pending.pop()
        with os.scandir(place) as entries:
            found = [(entry.path, entry.is_dir(follow_symlinks=False)) for entry in entries]
        for path, is_folder in found:
            if not is_folder:
                os.unlink(path)
                continue
            os.chmod(path, 0o700)
            if place != folder:
                target = f"{folder}/.gone-{count}-{time.monotonic_ns()}"
                os.rename(path, target)
                path, count = target, count + 1
            pending.append(path)
        if place != folder:
            os.rmdir(place)


def reset() -> None:
    """Make the container as it was before the unit. Raises when that cannot be done."""
    for folder in SCRATCH:
        clear(folder)
        if os.listdir(folder):
            raise OSError(f"{folder} is not empty")


def main() -> None:
    set_dumpable(0)
    wake, writer = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(writer, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    # What children inherit is set here once. A process 1 is deaf to signals that it does not
    # handle, and Python would have programs ignore these two.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    os.chdir("/job")
    os.umask(0o022)
    meter = Meter()
    while True:
        send(b"R", bytes((VERSION,)))
        task = receive()
        if task is None:
            return
        serve(task, meter, wake)
        reset()


if __name__ == "__main__":
    sys.tracebacklimit = 3
    main()
