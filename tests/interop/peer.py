"""One peer of ours as a program: ``python -m tests.interop.peer TRACKER FOLDER [OPTIONS] [REF]``.

With a reference, ``V2:V1:LENGTH``, it fetches that blob; without, it seeds FOLDER/content. It says
what it does in JSON, a line each, and ends when its input ends.
"""

import argparse
import asyncio
import json
import sys
from pathlib import Path

from client.peers.network import Network
from tests.interop.members import member
from workunits.ids import BlobRef


def say(**what: object) -> None:
    print(json.dumps(what), flush=True)


def spell(ref: BlobRef) -> str:
    """A reference as an argument."""
    return f"{ref.v2.hex()}:{ref.v1.hex()}:{ref.length}"


def read(text: str) -> BlobRef:
    """The reference that ``spell`` wrote."""
    v2, v1, length = text.split(":")
    return BlobRef(bytes.fromhex(v2), bytes.fromhex(v1), int(length))


async def run(arguments: argparse.Namespace) -> None:
    folder: Path = arguments.folder
    network = Network(relay_only=arguments.relay_only)
    async with member(arguments.tracker, folder / "store", network=network) as (swarm, store):
        if arguments.ref:
            path = await swarm.fetch(read(arguments.ref))
            (folder / "content").write_bytes(path.read_bytes())
            say(fetched=str(path), from_peers=swarm.stats.from_peers)
        else:
            ref = store.add((folder / "content").read_bytes())
            swarm.seed(ref)
            say(seeding=spell(ref))
        await asyncio.to_thread(sys.stdin.read)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("tracker")
    parser.add_argument("folder", type=Path)
    parser.add_argument("ref", nargs="?", default="")
    parser.add_argument("--relay-only", action="store_true")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
