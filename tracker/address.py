"""Where a tracker is and who runs it: what its operator's commands need before anything else."""

import os
from dataclasses import dataclass
from pathlib import Path

from workunits.errors import LocalError
from workunits.signing import SEED_SIZE, Identity

KEY_FILE = "operator.key"
ADDRESS_FILE = "address"


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen; port 0 takes a free one."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """The address as a URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


def operator_identity(data: Path) -> Identity:
    """The tracker's own key, made on first use (0600)."""
    path = data / KEY_FILE
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        try:
            return Identity.from_seed(bytes.fromhex(path.read_text().strip()))
        except ValueError:
            raise LocalError(f"{path} is not a key", hint="Restore it from a backup.") from None
    with os.fdopen(handle, "w") as file:
        seed = os.urandom(SEED_SIZE)
        file.write(seed.hex() + "\n")
    return Identity.from_seed(seed)
