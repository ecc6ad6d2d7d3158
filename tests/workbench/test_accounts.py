"""Who may sign in: passwords, locks, expiry. The clock is ours, so that eight hours take no time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from workbench.accounts import Accounts
from workbench.errors import AccountError, SignInRefused
from workbench.store import open_store

PASSWORD = "correct horse battery"
START = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)


class Clock:
    """A clock that moves when told to."""

    def __init__(self) -> None:
        self.moment = START

    def __call__(self) -> datetime:
        return self.moment


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def accounts(tmp_path: Path, clock: Clock) -> Accounts:
    made = Accounts(
        open_store(tmp_path / "state" / "workbench.sqlite"), clock=clock, hasher=PasswordHasher(1, 8, 1)
    )
    made.add("steward", PASSWORD, ["steward"])
    return made


def test_password_is_kept_as_argon2id_and_files_are_private(accounts: Accounts, tmp_path: Path) -> None:
    (row,) = accounts.listing()
    assert row.password_hash.startswith("$argon2id$")
    assert (tmp_path / "state" / "workbench.sqlite").stat().st_mode & 0o077 == 0
    assert (tmp_path / "state").stat().st_mode & 0o077 == 0


def test_the_cookie_is_not_in_the_database(accounts: Accounts, tmp_path: Path) -> None:
    cookie, person = accounts.sign_in("steward", PASSWORD, "10.0.0.1")
    assert accounts.by_cookie(cookie) == person
    stored = b"".join(file.read_bytes() for file in (tmp_path / "state").iterdir())
    assert cookie.encode() not in stored
    assert PASSWORD.encode() not in stored


def test_wrong_password_and_unknown_name_get_the_same_words(accounts: Accounts) -> None:
    with pytest.raises(SignInRefused) as wrong:
        accounts.sign_in("steward", "not the password", "10.0.0.1")
    with pytest.raises(SignInRefused) as unknown:
        accounts.sign_in("nobody", "not the password", "10.0.0.1")
    assert str(wrong.value) == str(unknown.value)


@pytest.mark.parametrize("name", ["steward", "nobody"])
def test_five_failures_lock_a_name_even_for_the_right_password(
    accounts: Accounts, clock: Clock, name: str
) -> None:
    for attempt in range(5):
        with pytest.raises(SignInRefused, match="Wrong"):
            accounts.sign_in(name, "wrong", f"10.0.0.{attempt}")
    with pytest.raises(SignInRefused, match="Too many"):
        accounts.sign_in(name, PASSWORD, "10.0.1.1")
    clock.moment += timedelta(minutes=16)
    if name == "steward":
        accounts.sign_in(name, PASSWORD, "10.0.1.1")


def test_one_address_trying_many_names_is_stopped(accounts: Accounts) -> None:
    for attempt in range(30):
        with pytest.raises(SignInRefused, match="Wrong"):
            accounts.sign_in(f"name{attempt}", "wrong", "10.9.9.9")
    with pytest.raises(SignInRefused, match="Too many"):
        accounts.sign_in("steward", PASSWORD, "10.9.9.9")
    accounts.sign_in("steward", PASSWORD, "10.0.0.1")


def test_a_sign_in_ends_after_eight_hours_however_active(accounts: Accounts, clock: Clock) -> None:
    cookie, person = accounts.sign_in("steward", PASSWORD, "10.0.0.1")
    clock.moment = START + timedelta(hours=7, minutes=59)
    assert accounts.current(person.id) is not None
    clock.moment = START + timedelta(hours=8)
    assert accounts.current(person.id) is None
    assert accounts.by_cookie(cookie) is None


def test_sign_out_new_password_and_disabling_end_sign_ins(accounts: Accounts) -> None:
    for ending in (
        lambda person: accounts.sign_out(person.id),
        lambda person: accounts.set_password("steward", PASSWORD),
        lambda person: accounts.disable("steward"),
    ):
        _, person = accounts.sign_in("steward", PASSWORD, "10.0.0.1")
        ending(person)
        assert accounts.current(person.id) is None
    with pytest.raises(SignInRefused):
        accounts.sign_in("steward", PASSWORD, "10.0.0.1")


@pytest.mark.parametrize(
    ("name", "password", "roles", "words"),
    [
        ("steward", PASSWORD, ["steward"], "exists"),
        ("Upper", PASSWORD, ["steward"], "account name"),
        ("short", "elevenchars", ["steward"], "at least 12"),
        ("king", PASSWORD, ["king"], "king given"),
        ("none", PASSWORD, [], "none given"),
    ],
)
def test_accounts_that_cannot_be_made(
    accounts: Accounts, name: str, password: str, roles: list[str], words: str
) -> None:
    with pytest.raises(AccountError, match=words):
        accounts.add(name, password, roles)
    assert len(accounts.listing()) == 1
