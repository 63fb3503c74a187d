"""The main job, with a cheat, with big data, with programs that misbehave."""

import json
from pathlib import Path

from examples.demo.swarm import COPYCAT, LIAR, Peer, Swarm
from sandbox.engine import Engine
from tests.acceptance.conftest import (
    WriteJob,
    assert_books_balance,
    containers,
    finish,
    publish,
)

SQUARE = """
import sys
open("/out/out.txt", "w").write(str(int(sys.argv[1]) ** 2))
"""


def test_a_job_is_computed_checked_and_paid_and_the_cheat_earns_nothing(
    swarm: Swarm, submitter: Peer, write_job: WriteJob, tmp_path: Path, docker_engine: Engine
) -> None:
    names = ("cheat", "volunteer", "validator", "other")
    cheat, volunteer, validator, other = (swarm.peer(name) for name in names)
    swarm.volunteer(cheat, program=LIAR)
    swarm.volunteer(validator, "--validate")
    swarm.volunteer(other)
    job = publish(
        swarm,
        submitter,
        write_job(SQUARE, "n = { range = [0, 40] }", arguments="{n}"),
    )
    swarm.volunteer(volunteer)
    view = finish(swarm, submitter, job)
    assert view["counts"]["accepted"] == 40
    assert view["escrow"] == {"held": 0, "paid": 80, "returned": 0}
    results = tmp_path / "results"
    swarm.run(submitter, "results", job, str(results))
    answers = [(results / str(n) / "out.txt").read_text() for n in range(40)]
    assert answers == [str(n * n) for n in range(40)]
    account = swarm.get(f"accounts/{cheat.key}")
    assert account["wrong"] > 0
    assert account["earned"] == 0
    assert_books_balance(swarm)
    swarm.stop_all()
    assert containers(docker_engine, swarm.folder) == []


def test_a_clique_and_a_copycat_change_nothing_and_earn_nothing(
    swarm: Swarm, submitter: Peer, write_job: WriteJob, tmp_path: Path
) -> None:
    names = ("referee", "liar-1", "liar-2", "copycat", "honest-1", "honest-2")
    referee, *liars, copycat, one, two = (swarm.peer(name) for name in names)
    swarm.make_referee(referee)
    swarm.volunteer(referee, "--validate")
    swarm.volunteer(copycat, "--validate", program=COPYCAT)
    for liar in liars:
        swarm.volunteer(liar, program=LIAR)
    for peer in (one, two):
        swarm.volunteer(peer)
    swarm.gather(6)
    roles = {peer["key"]: peer["role"] for peer in swarm.get("peers")["peers"]}
    assert roles[referee.key] == "referee"
    job_file = write_job(SQUARE, "n = { range = [0, 60] }", arguments="{n}", policy="economy")
    job = publish(swarm, submitter, job_file)
    results = tmp_path / "results"
    view = finish(swarm, submitter, job)
    assert view["counts"]["accepted"] == 60
    assert view["escrow"]["paid"] + view["escrow"]["returned"] == 120
    swarm.run(submitter, "results", job, str(results))
    answers = [(results / str(n) / "out.txt").read_text() for n in range(60)]
    assert answers == [str(n * n) for n in range(60)]
    accounts = [swarm.get(f"accounts/{peer.key}") for peer in (*liars, copycat)]
    assert [account["earned"] for account in accounts] == [0, 0, 0]
    assert all(account["strikes"] for account in accounts[:2])
    assert accounts[2]["right"] == 0
    assert_books_balance(swarm)


def test_inputs_and_outputs_too_large_for_the_tracker_travel_between_peers(
    swarm: Swarm, submitter: Peer, write_job: WriteJob, tmp_path: Path
) -> None:
    (tmp_path / "big.bin").write_bytes(bytes(range(256)) * 8192)
    program = """
data = open("/in/big.bin", "rb").read()
open("/out/out.txt", "wb").write(data[::-1][:100_000])
"""
    job_file = write_job(program, "", inputs='"big.bin" = "../big.bin"')
    swarm.volunteer(swarm.peer("volunteer"))
    swarm.volunteer(swarm.peer("validator"), "--validate")
    swarm.run(submitter, "submit", str(job_file), "--watch")
    job = swarm.get("jobs")["jobs"][0]["id"]
    unit = next(swarm.units(job))
    assert unit["state"] == "accepted"
    output = unit["result"]["outputs"][0]
    for blob in (output["v2"],):
        assert swarm.status_of(f"blobs/{blob}") == 404, "the tracker must not have carried it"
    results = tmp_path / "results"
    swarm.run(submitter, "results", job, str(results))
    expected = (bytes(range(256)) * 8192)[::-1][:100_000]
    assert (results / "0" / "out.txt").read_bytes() == expected
    links = json.loads(swarm.run(submitter, "status", job, "--links", "--json"))
    (link,) = [each["magnet"] for each in links if each["kind"] == "result"]
    swarm.run(submitter, "fetch", link, str(tmp_path / "fetched"))
    assert (tmp_path / "fetched" / "out.txt").read_bytes() == expected


MISBEHAVE = """
import os, sys, time
kind = sys.argv[1]
if kind == "loop":
    while True: pass
if kind == "sleep":
    time.sleep(600)
if kind == "fork":
    while True:
        try: os.fork()
        except OSError: time.sleep(0.01)
if kind == "memory":
    hog = []
    while True: hog.append(bytearray(1 << 20))
if kind == "disk":
    with open("/out/out.txt", "wb") as file:
        while True: file.write(b"x" * (1 << 20))
if kind == "flood":
    line = b"\\n" * (1 << 16)
    for _ in range(400): os.write(1, line)
if kind == "links":
    os.symlink("/etc/passwd", "/out/out.txt")
    sys.exit(0)
if kind == "crash":
    sys.exit(7)
open("/out/out.txt", "w").write("done")
"""


def test_programs_that_misbehave_fail_with_their_reason_and_harm_nobody(
    swarm: Swarm, submitter: Peer, write_job: WriteJob
) -> None:
    kinds = ["loop", "sleep", "fork", "memory", "disk", "flood", "links", "crash", "good"]
    job_file = write_job(
        MISBEHAVE,
        f"kind = {json.dumps(kinds)}",
        arguments="{kind}",
        limits='cpu = "2s"\nwall = "8s"\nmemory = "64MiB"\noutput = "64KiB"',
    )
    swarm.volunteer(swarm.peer("volunteer"))
    swarm.volunteer(swarm.peer("validator"), "--validate")
    referee = swarm.peer("referee")  # which limit a fork bomb breaks first is a matter of load
    swarm.make_referee(referee)
    swarm.volunteer(referee, "--validate")
    job = publish(swarm, submitter, job_file)
    view = finish(swarm, submitter, job)
    assert view["state"] == "finished"
    reasons = {unit["parameters"]["kind"]: unit["reason"] for unit in swarm.units(job)}
    assert reasons["loop"] == "over its cpu limit"
    assert reasons["sleep"] == "over its wall limit"
    assert reasons["memory"] == "over its memory limit"
    assert reasons["crash"] == "exit status 7"
    assert reasons["links"] == "output missing: out.txt"
    assert reasons["disk"]
    assert reasons["fork"]
    assert reasons["good"] == reasons["flood"] == ""
    assert_books_balance(swarm)
