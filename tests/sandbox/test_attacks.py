"""Hostile programs against the real engine: each is contained, and the next unit runs clean."""

import platform
from pathlib import Path

import docker
import pytest

from sandbox.runner import Ending
from tests.sandbox.conftest import MIB, Bench, ours, said

pytestmark = pytest.mark.engine


async def test_an_endless_loop_ends_at_the_cpu_limit(bench: Bench) -> None:
    outcome = await bench.once("while True: pass", cpu_seconds=0.5, wall_seconds=60)
    assert outcome.ending is Ending.CPU
    assert outcome.exit_status == -1
    assert outcome.missing == ("said",)
    assert 0.4 < outcome.cpu_seconds < 3


async def test_cpu_time_is_counted_over_all_processes(bench: Bench) -> None:
    script = "import os\nfor _ in range(3): os.fork()\nwhile True: pass"
    outcome = await bench.once(script, cpu_seconds=0.5, wall_seconds=60)
    assert outcome.ending is Ending.CPU


async def test_an_idle_unit_ends_at_the_wall_limit(bench: Bench) -> None:
    outcome = await bench.once("import time; time.sleep(60)", wall_seconds=0.3)
    assert outcome.ending is Ending.WALL
    assert outcome.wall_seconds < 5


async def test_ignoring_every_signal_does_not_help(bench: Bench) -> None:
    script = """
import signal, time
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
time.sleep(60)
"""
    outcome = await bench.once(script, wall_seconds=0.5)
    assert outcome.ending is Ending.WALL


async def test_a_fork_bomb_is_contained_and_the_next_unit_runs(bench: Bench) -> None:
    script = """
import os, sys
if sys.argv[1] == "bomb":
    while True:
        try: os.fork()
        except OSError: pass
print("fine")
"""
    cell = await bench.open(script, wall_seconds=3)
    assert (await bench.run(cell, "bomb")).ending in (Ending.WALL, Ending.CPU, Ending.MEMORY)
    assert said(await bench.run(cell, "well")) == "fine\n"


async def test_processes_left_behind_are_killed_before_the_next_unit(bench: Bench) -> None:
    script = """
import os, sys, time
if sys.argv[1] == "spawn":
    for _ in range(20):
        if not os.fork():
            os.setsid()
            os.fork()
            time.sleep(60)
else:
    print(sum(name.isdigit() for name in os.listdir("/proc")))
"""
    cell = await bench.open(script)
    assert (await bench.run(cell, "spawn")).ending is Ending.EXITED
    assert said(await bench.run(cell, "count")) == "2\n"


async def test_too_much_memory_is_an_ending_of_its_own(bench: Bench) -> None:
    outcome = await bench.once("x = bytearray(400 << 20)")
    assert outcome.ending is Ending.MEMORY


async def test_memory_spread_over_many_processes_counts_together(bench: Bench) -> None:
    script = """
import os, time
for _ in range(20):
    if not os.fork():
        x = b"x" * (20 << 20)
        time.sleep(60)
time.sleep(60)
"""
    assert (await bench.once(script)).ending is Ending.MEMORY


async def test_a_flood_on_standard_output_is_an_output_ending(bench: Bench) -> None:
    script = "import os\nwhile True: os.write(1, b'\\n' * 65536)"
    assert (await bench.once(script)).ending is Ending.OUTPUT


async def test_a_flood_on_standard_error_keeps_its_tail(bench: Bench) -> None:
    script = """
import os
for _ in range(400): os.write(2, b"\\n" * 65536)
os.write(2, b"the end")
"""
    outcome = await bench.once(script)
    assert outcome.ending is Ending.EXITED
    assert outcome.stderr.endswith(b"the end")
    assert len(outcome.stderr) == 16 * 1024


async def test_no_log_of_a_flood_reaches_the_disk(bench: Bench, api: docker.APIClient) -> None:
    cell = await bench.open("print('x' * 100000)")
    await bench.run(cell)
    (container,) = ours(api, bench.folder)
    found = api.inspect_container(container)
    assert found["HostConfig"]["LogConfig"]["Type"] == "none"
    assert not found["LogPath"]


@pytest.mark.parametrize("folder", ["/tmp", "/out", "/dev/shm"])
async def test_a_full_disk_is_the_programs_own_problem(bench: Bench, folder: str) -> None:
    script = f"""
import os, sys
if sys.argv[1] == "fill":
    for i in range(100):
        with open("{folder}/" + str(i), "wb") as file:
            file.write(b"x" * (4 << 20))
print(len(os.listdir("/tmp")), len(os.listdir("/dev/shm")))
"""
    cell = await bench.open(script)
    outcome = await bench.run(cell, "fill")
    assert (outcome.ending, outcome.exit_status) in ((Ending.EXITED, 1), (Ending.OUTPUT, -1))
    assert said(await bench.run(cell, "look")) == "0 0\n"


@pytest.mark.parametrize("folder", ["/tmp", "/out", "/dev/shm"])
async def test_a_hundred_thousand_files_run_out_of_inodes(bench: Bench, folder: str) -> None:
    script = f"""
import os, sys
if sys.argv[1] == "fill":
    made = 0
    try:
        for i in range(100000):
            open("{folder}/" + str(i), "w").close()
            made += 1
    except OSError: pass
    assert made < 1100, made
print(os.listdir("/tmp"), os.listdir("/dev/shm"), os.listdir("/out"))
"""
    cell = await bench.open(script)
    outcome = await bench.run(cell, "fill")
    assert outcome.ending in (Ending.EXITED, Ending.OUTPUT)
    assert outcome.exit_status in (0, -1)
    assert said(await bench.run(cell, "look")) == "[] [] ['said']\n"


async def test_a_sparse_terabyte_is_an_output_ending(bench: Bench) -> None:
    script = """
import os, resource
print(resource.getrlimit(resource.RLIMIT_FSIZE))
file = os.open("/out/big", os.O_WRONLY | os.O_CREAT)
os.ftruncate(file, 20 << 20)
"""
    assert (await bench.once(script, "big")).ending is Ending.OUTPUT
    huge = script.replace("20 << 20", "1 << 40")
    outcome = await bench.once(huge, "big")
    assert outcome.ending in (Ending.OUTPUT, Ending.EXITED)
    assert "big" not in outcome.outputs or not outcome.outputs["big"].stat().st_size


@pytest.mark.parametrize(
    "plant",
    [
        "os.symlink('/etc/passwd', '/out/trap')",
        "os.symlink('/proc/1/environ', '/out/trap')",
        "os.mkdir('/out/trap')",
        "os.symlink('said', '/out/trap')",
        "socket.socket(socket.AF_UNIX).bind('/out/trap')",
        "open('/out/trap', 'w').close(); os.chmod('/out/trap', 0)",
    ],
)
async def test_what_is_not_a_plain_file_is_missing(bench: Bench, plant: str) -> None:
    outcome = await bench.once(f"import os, socket\n{plant}", "trap")
    assert outcome.ending is Ending.EXITED
    assert outcome.missing == ("trap",)
    assert "trap" not in outcome.outputs


async def test_a_fifo_cannot_even_be_made(bench: Bench) -> None:
    script = """
import os
try: os.mkfifo("/out/trap")
except PermissionError: print("no")
"""
    outcome = await bench.once(script, "trap")
    assert said(outcome) == "no\n"
    assert outcome.missing == ("trap",)


async def test_deep_folders_do_not_survive_a_unit(bench: Bench) -> None:
    script = """
import os, sys
if sys.argv[1] == "dig":
    for place in ("/tmp", "/out", "/dev/shm"):
        os.chdir(place)
        try:
            for _ in range(5000):
                os.mkdir("d"); os.chmod("d", 0o700); os.chdir("d")
        except OSError: pass
        os.chmod(".", 0)
else:
    print(os.listdir("/tmp"), os.listdir("/dev/shm"))
"""
    cell = await bench.open(script)
    assert (await bench.run(cell, "dig")).ending in (Ending.EXITED, Ending.OUTPUT)
    assert said(await bench.run(cell, "look")) == "[] []\n"


async def test_locked_and_hidden_folders_do_not_survive_a_unit(bench: Bench) -> None:
    script = """
import os, sys
if sys.argv[1] == "hide":
    os.makedirs("/tmp/.a/b/c")
    open("/tmp/.a/b/c/file", "w").close()
    for place in ("/tmp/.a/b/c/file", "/tmp/.a/b/c", "/tmp/.a/b", "/tmp/.a", "/out"):
        os.chmod(place, 0)
    os.symlink("/job", "/tmp/link")
else:
    print(os.listdir("/tmp"), os.listdir("/out"), os.listdir("/job"))
"""
    cell = await bench.open(script)
    assert (await bench.run(cell, "hide")).ending is Ending.EXITED
    assert said(await bench.run(cell, "look")) == "[] ['said'] ['unit.py']\n"


async def test_system_v_memory_and_queues_cannot_be_left_for_the_next_unit(bench: Bench) -> None:
    script = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
print(libc.shmget(1, 4096, 0o1666), libc.semget(1, 1, 0o1666), libc.msgget(1, 0o1666))
print(libc.mq_open(b"/left", os.O_CREAT | os.O_RDWR, 0o666, None))
"""
    assert said(await bench.once(script)) == "-1 -1 -1\n-1\n"


async def test_sockets_to_the_host_and_raw_ones_are_closed(bench: Bench) -> None:
    script = """
import socket
for family in (socket.AF_VSOCK, socket.AF_PACKET, socket.AF_NETLINK, 38):
    try: socket.socket(family, socket.SOCK_DGRAM).close(); print(family, "open")
    except PermissionError: pass
try: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1); print("raw")
except PermissionError: pass
"""
    assert said(await bench.once(script)) == ""


async def test_there_is_no_network_but_loopback(bench: Bench) -> None:
    script = """
import os, socket
print(sorted(os.listdir("/sys/class/net")))
try: socket.create_connection(("1.1.1.1", 53), 1)
except OSError as error: print(error.strerror)
"""
    assert said(await bench.once(script)) == "['lo']\nNetwork is unreachable\n"


async def test_dangerous_system_calls_are_closed(bench: Bench) -> None:
    script = """
import ctypes, os, platform
libc = ctypes.CDLL(None, use_errno=True)
arm = platform.machine() == "aarch64"
calls = {
    "io_uring_setup": 425, "memfd_secret": 447, "clone3": 435,
    "open_by_handle_at": 265 if arm else 304,
    "ptrace": 117 if arm else 101, "keyctl": 219 if arm else 250, "add_key": 217 if arm else 248,
    "unshare": 97 if arm else 272, "mount": 40 if arm else 165, "bpf": 280 if arm else 321,
    "userfaultfd": 282 if arm else 323, "perf_event_open": 241 if arm else 298,
    "process_vm_readv": 270 if arm else 310, "setns": 268 if arm else 308,
    "personality": 92 if arm else 135, "kexec_load": 104 if arm else 246,
}
for name, number in calls.items():
    argument = 0x0400000 if name == "personality" else 0
    if name == "unshare": argument = 0x10000000
    ctypes.set_errno(0)
    got = libc.syscall(number, argument, 0, 0, 0, 0)
    if got != -1 or ctypes.get_errno() not in (1, 38): print(name, got, ctypes.get_errno())
"""
    assert said(await bench.once(script)) == ""


async def test_no_new_user_namespace_by_clone(bench: Bench) -> None:
    script = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
print(libc.syscall(220 if os.uname().machine == "aarch64" else 56, 0x10000000 | 17, 0, 0, 0, 0))
print(ctypes.get_errno())
"""
    assert said(await bench.once(script)) == "-1\n1\n"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="only there is a second door")
async def test_thirty_two_bit_system_calls_kill_the_caller(bench: Bench) -> None:
    # mov eax, 20 (getpid of i386, which a filter for 64-bit numbers takes for writev);
    # int 0x80; ret
    script = """
import ctypes, mmap, os
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(bytes.fromhex("b814000000cd80c3"))
door = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
child = os.fork()
if not child:
    door()
    os._exit(77)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert said(await bench.once(script)) == "-31\n"


async def test_the_root_file_system_and_the_inputs_cannot_be_written(
    bench: Bench, tmp_path: Path
) -> None:
    script = """
import os
for place in ("/", "/etc", "/usr/bin", "/job", "/in", "/var", "/run", "/dev", "/sys/fs/cgroup"):
    try: open(place + "/x", "w").close(); print(place)
    except OSError: pass
for place in ("/job/unit.py", "/etc/passwd", "/proc/sys/kernel/hostname", "/proc/sysrq-trigger"):
    try: open(place, "a").close(); print(place)
    except OSError: pass
"""
    assert said(await bench.once(script)) == ""


async def test_nothing_written_can_be_executed(bench: Bench) -> None:
    script = """
import os, shutil, subprocess
for place in ("/tmp", "/out", "/dev/shm"):
    shutil.copyfile("/bin/sh", place + "/sh")
    os.chmod(place + "/sh", 0o777)
    try: subprocess.run([place + "/sh", "-c", ":"]); print(place)
    except PermissionError: pass
    os.unlink(place + "/sh")
"""
    assert said(await bench.once(script)) == ""


async def test_process_one_is_out_of_reach(bench: Bench) -> None:
    script = """
import os, signal
for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP):
    os.kill(1, number)
for place in ("/proc/1/mem", "/proc/1/fd/0", "/proc/1/fd/1", "/proc/1/environ", "/proc/1/maps"):
    try: open(place, "rb").close(); print(place)
    except PermissionError: pass
try: print(os.listdir("/proc/1/fd"))
except PermissionError: pass
print(os.getuid(), sorted(os.environ))
print([l for l in open("/proc/self/status") if l.startswith("CapEff")])
"""
    outcome = await bench.once(script)
    assert said(outcome).startswith("65534 ['HOME', 'LANG', 'PATH', ")
    assert said(outcome).endswith("\n['CapEff:\\t0000000000000000\\n']\n")


async def test_descriptors_of_the_harness_are_not_inherited(bench: Bench) -> None:
    script = "import os; print(len(os.listdir('/proc/self/fd')))"
    assert said(await bench.once(script)) == "4\n"  # three, and the one that lists


async def test_a_unit_cannot_speak_for_the_harness(bench: Bench) -> None:
    script = "import os\nos.write(1, b'E' + bytes(30))\nos.write(2, b'E' + bytes(30))"
    outcome = await bench.once(script)
    assert outcome.outputs["said"].read_bytes() == b"E" + bytes(30)
    assert outcome.stderr == b"E" + bytes(30)


async def test_outputs_up_to_the_limit_arrive_whole(bench: Bench) -> None:
    script = "open('/out/big', 'wb').write(b'x' * (8 << 20))"
    outcome = await bench.once(script, "big", output_bytes=8 * MIB)
    assert outcome.outputs["big"].stat().st_size == 8 * MIB
    assert (await bench.once(script, "big", output_bytes=8 * MIB - 1)).ending is Ending.OUTPUT
