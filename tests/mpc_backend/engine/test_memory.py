"""The memory policy of a process that computes."""

import subprocess
import sys

PROGRAM = """
import resource, threading
import numpy as np
from mpc_backend.memory import give_back_memory, keep_freed_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() >> 20

def use():
    np.ones(5 << 20)  # more than malloc ever keeps by itself

if KEEP:
    assert keep_freed_memory()
for _ in range(2):
    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
before, kept = faults(), resident()
for _ in range(20):
    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
after = faults() - before
give_back_memory()
print(after, kept - resident())
"""


def measured(keep: bool) -> tuple[int, int]:
    """Page faults of using 40 MiB twenty times in new threads, and MiB given back at the end."""
    program = PROGRAM.replace("KEEP", str(keep))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    faults, returned = done.stdout.split()
    return int(faults), int(returned)


def test_freed_memory_is_used_again_until_it_is_given_back() -> None:
    faults, returned = measured(keep=True)
    assert faults < 2000
    assert returned >= 36
    assert measured(keep=False)[0] > 2 * faults


TAKEN = """
import resource
from mpc_backend.memory import keep_freed_memory, take_memory
import numpy as np

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

assert keep_freed_memory()
if TAKE:
    take_memory(64)
before = faults()
for _ in range(12):
    kept = [np.ones(1 << 20, np.uint8) for _ in range(48)]
    del kept
print(faults() - before)
"""


def first_use(take: bool) -> int:
    """Page faults of using 48 MiB in pieces, in a new process."""
    program = TAKEN.replace("TAKE", str(take))
    return int(
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    )


def test_memory_taken_beforehand_is_what_the_first_job_uses() -> None:
    assert first_use(take=True) < 500
    assert first_use(take=False) > 5000
