"""Links to the files of a job, for any BitTorrent client."""

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.client.commands.shell import SQUARES, Shell


def test_the_files_of_a_job_have_links_that_lead_to_them(rich_shell: Shell, tmp_path: Path) -> None:
    job_file = rich_shell.job_file(SQUARES + '[inputs]\n"large.bin" = "large.bin"\n')
    (job_file.parent / "large.bin").write_bytes(bytes(range(256)) * 5000)
    job = rich_shell.good("submit", job_file, "--json").json["id"]
    program, large = rich_shell.good("status", job, "--links", "--json").json
    assert (program["kind"], program["name"], program["unit"]) == ("program", "square.py", None)
    assert (large["kind"], large["name"], large["length"]) == ("input", "large.bin", 1_280_000)
    asked = parse_qs(urlsplit(large["magnet"]).query)
    assert asked["xt"] == [f"urn:btih:{large['v1']}", f"urn:btmh:1220{large['v2']}"]
    assert f"{rich_shell.tracker}/announce" in asked["tr"]
    assert "ws" not in asked, "the tracker does not have it"
    fetched = tmp_path / "fetched"
    rich_shell.good("fetch", "--no-local", program["magnet"], fetched)
    assert (fetched / "square.py").read_bytes() == b"print(1)\n"


def test_people_are_told_what_each_link_is(rich_shell: Shell) -> None:
    job = rich_shell.good("submit", rich_shell.job_file(), "--json").json["id"]
    said = rich_shell.good("status", job, "--links")
    assert "program square.py (9 B)" in said.err
    (link,) = said.out.splitlines()
    assert link.startswith("magnet:?xt=urn:btih:")
