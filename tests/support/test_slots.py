from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Lock

from tests.support.slots import slot


def test_no_more_than_so_many_at_a_time(tmp_path: Path) -> None:
    lock, full = Lock(), Barrier(2, timeout=30)
    inside: list[int] = []
    most = 0

    def work(_: int) -> None:
        nonlocal most
        with slot(tmp_path, 2) as number:
            with lock:
                assert number not in inside
                inside.append(number)
                most = max(most, len(inside))
            full.wait()  # both slots are taken at once
            with lock:
                inside.remove(number)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert most == 2
    assert inside == []


def test_what_fails_inside_gives_its_slot_back(tmp_path: Path) -> None:
    for _ in range(3):
        try:
            with slot(tmp_path, 1):
                raise LookupError
        except LookupError:
            continue
