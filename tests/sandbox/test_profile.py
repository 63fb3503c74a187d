"""The profile says what the notes on attacks ask for."""

import json
from pathlib import Path

from sandbox.profile import (
    Owner,
    Share,
    container,
    host_config,
    memory_limit,
    seccomp,
    tmpfs,
)
from sandbox.runner import Limits

MIB = 1 << 20
LIMITS = Limits(1, 1, 100 * MIB, 10 * MIB)
DANGEROUS = """
    ptrace process_vm_readv process_vm_writev kcmp keyctl add_key request_key mknod mknodat
    mount umount2 pivot_root chroot unshare setns bpf userfaultfd perf_event_open io_uring_setup
    memfd_secret open_by_handle_at init_module finit_module kexec_load reboot swapon socket
    clone clone3 personality shmget semget msgget mq_open socketcall modify_ldt vm86 iopl ioperm
    acct settimeofday clock_settime quotactl syslog fsopen fsmount move_mount pidfd_getfd
"""


def test_every_line_of_the_profile_is_there() -> None:
    host = host_config(LIMITS, Share(5 * 10**8, "1", 512), Path("/work/cell"), "runsc")
    assert host["NetworkMode"] == "none"
    assert host["CapDrop"] == ["ALL"]
    assert host["ReadonlyRootfs"]
    assert host["IpcMode"] == host["CgroupnsMode"] == "private"
    assert "no-new-privileges:true" in host["SecurityOpt"]
    assert host["Memory"] == host["MemorySwap"] == memory_limit(LIMITS)
    assert host["PidsLimit"] == 64
    assert host["LogConfig"]["Type"] == "none"
    assert (host["NanoCpus"], host["CpusetCpus"], host["Runtime"]) == (5 * 10**8, "1", "runsc")
    assert host["CpuShares"] == 512
    assert all(mount["ReadOnly"] and mount["Type"] == "bind" for mount in host["Mounts"])
    assert {mount["Target"] for mount in host["Mounts"]} == {"/in", "/job"}
    assert "Devices" not in host
    assert not host.get("Privileged")


def test_every_writable_place_is_capped() -> None:
    for options in tmpfs(LIMITS).values():
        assert "size=" in options
        assert "nr_inodes=" in options
        assert {"noexec", "nosuid", "nodev"} <= set(options.split(","))


def test_outputs_do_not_eat_the_programs_memory() -> None:
    assert memory_limit(LIMITS) >= LIMITS.memory_bytes + LIMITS.output_bytes


def test_the_container_runs_as_nobody_and_ignores_the_image() -> None:
    body = container("sha256:x", "source", {}, Owner("me", 7))
    assert body["User"] == "65534:65534"
    assert body["Entrypoint"][0] == "python3"
    assert body["Entrypoint"][-1] == "source"
    assert body["Cmd"] == []
    assert body["Healthcheck"] == {"Test": ["NONE"]}
    assert body["Labels"] == {
        "openswarm": "1",
        "openswarm.owner": "me",
        "openswarm.deadline": "7",
    }


def test_the_filter_is_an_allow_list_of_one_architecture() -> None:
    profile = json.loads(seccomp())
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    assert all(not entry["subArchitectures"] for entry in profile["archMap"])
    allowed = {
        name
        for rule in profile["syscalls"]
        if rule["action"] == "SCMP_ACT_ALLOW" and not rule.get("args")
        for name in rule["names"]
    }
    assert allowed.isdisjoint(DANGEROUS.split())


def test_new_processes_get_no_new_namespaces() -> None:
    rules = [r for r in json.loads(seccomp())["syscalls"] if r["names"] == ["clone"]]
    ((argument,),) = [rule["args"] for rule in rules]
    new_namespaces = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000
    new_namespaces |= 0x10000000 | 0x20000000 | 0x40000000
    assert argument["value"] == new_namespaces
    assert argument["op"] == "SCMP_CMP_MASKED_EQ"
