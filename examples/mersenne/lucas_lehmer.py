"""Lucas-Lehmer test of one Mersenne number, 2**p - 1 for a prime p. The work that GIMPS does.

Prints the verdict and the lowest 64 bits of the final residue, as GIMPS publishes them.
"""

import json
import sys


def residue(p: int) -> int:
    """The last term of the Lucas-Lehmer sequence modulo 2**p - 1; zero means prime."""
    if p == 2:
        return 0
    modulus = (1 << p) - 1
    term = 4
    for _ in range(p - 2):
        term = term * term - 2
        while term > modulus:
            term = (term & modulus) + (term >> p)
        if term == modulus:
            term = 0
    return term


exponent = int(sys.argv[1])
last = residue(exponent)
answer = {"exponent": exponent, "prime": last == 0, "residue": f"{last & (2**64 - 1):016X}"}
print(json.dumps(answer))
