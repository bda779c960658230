"""Threads, forks and Ctrl-C."""

from __future__ import annotations

import multiprocessing
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

from pycrcnn.crypto.crypto import decrypt_matrix, encrypt_matrix
from pycrcnn.functional.square_layer import square
from pycrcnn.pyfhel import Pyfhel


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python 3.12 warns of forks beside threads
def test_a_forked_child_computes(fractional: Pyfhel) -> None:
    """The parent's threads do not exist in the child, which starts its own."""
    encrypted = encrypt_matrix(fractional, np.arange(8.0))
    square(fractional, encrypted)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()

    def child() -> None:
        queue.put(decrypt_matrix(fractional, square(fractional, encrypted)).tolist())

    process = context.Process(target=child)
    process.start()
    assert queue.get(timeout=60) == [float(i * i) for i in range(8)]
    process.join(timeout=60)
    assert process.exitcode == 0


def test_other_threads_run_meanwhile(fractional: Pyfhel) -> None:
    """The native module works without the GIL."""
    ticks, done = [], threading.Event()

    def tick() -> None:
        while not done.wait(0.002):
            ticks.append(time.perf_counter())

    encrypted = encrypt_matrix(fractional, np.ones(512))
    ticker = threading.Thread(target=tick)
    ticker.start()
    start = time.perf_counter()
    square(fractional, encrypted)
    end = time.perf_counter()
    done.set()
    ticker.join()
    assert sum(start < t < end for t in ticks) >= 3


def test_two_threads_share_an_object(fractional: Pyfhel) -> None:
    results: list[float] = []

    def work(value: float) -> None:
        results.append(fractional.decryptFrac(fractional.encryptFrac(value) * 2))

    threads = [threading.Thread(target=work, args=(float(i),)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [2.0 * i for i in range(8)]


def test_ctrl_c_stops_a_long_call() -> None:
    script = textwrap.dedent("""
        import time, warnings
        import numpy as np
        warnings.simplefilter("ignore")
        from pycrcnn.crypto.crypto import encrypt_matrix
        from pycrcnn.functional.square_layer import square
        from pycrcnn.pyfhel import Pyfhel
        HE = Pyfhel()
        HE.contextGen(65537, m=8192)
        HE.keyGen()
        HE.threads = 1
        [one] = encrypt_matrix(HE, [1.0])
        many = np.array([one] * 20000)
        print("ready", flush=True)
        start = time.perf_counter()
        try:
            square(HE, many)
        except KeyboardInterrupt:
            print("stopped", flush=True)
    """)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "stopped\n"
        assert process.wait(timeout=30) == 0
