"""The guard of conftest.py works: tests reach no other machine."""

import socket

import pytest


def test_a_connection_to_another_machine_fails_the_test() -> None:
    with socket.socket() as other, pytest.raises(RuntimeError, match=r"tried to connect to 192\.0\.2\.1"):
        other.connect(("192.0.2.1", 9))
