"""Who may sign in: passwords, locks, expiry. The clock is ours, so that eight hours take no time."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from workbench.accounts import Accounts
from workbench.errors import AccountError, SignInRefused
from workbench.lockout import FAILURES_PER_NAME, FAILURES_PER_SOURCE, source_of
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


def fail(accounts: Accounts, name: str, address: str, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(SignInRefused, match="Wrong"):
            accounts.sign_in(name, "wrong", address)


@pytest.mark.parametrize("name", ["steward", "nobody"])
def test_five_failures_lock_a_name_at_that_address_even_for_the_right_password(
    accounts: Accounts, clock: Clock, name: str
) -> None:
    fail(accounts, name, "10.0.1.1", times=5)
    with pytest.raises(SignInRefused, match=r"Too many failed sign-ins\. Try again in 15 minutes"):
        accounts.sign_in(name, PASSWORD, "10.0.1.1")
    clock.moment += timedelta(minutes=16)
    if name == "steward":
        accounts.sign_in(name, PASSWORD, "10.0.1.1")


def test_nobody_elsewhere_locks_the_owner_of_a_name_out(accounts: Accounts) -> None:
    """Neither from one address nor, at a place where the owner signed in before, from however many."""
    accounts.sign_in("steward", PASSWORD, "10.0.0.1")
    fail(accounts, "steward", "203.0.113.1", times=5)
    accounts.sign_in("steward", PASSWORD, "10.0.0.2")
    for number in range(FAILURES_PER_NAME - 5):
        fail(accounts, "steward", f"198.51.100.{number}")
    with pytest.raises(SignInRefused, match="Too many failed sign-ins under this name"):
        accounts.sign_in("steward", PASSWORD, "192.0.2.1")
    accounts.sign_in("steward", PASSWORD, "10.0.0.1")
    accounts.sign_in("steward", PASSWORD, "10.0.0.2")


@pytest.mark.parametrize("name", ["steward", "nobody"])
def test_many_addresses_together_have_few_guesses_a_day(accounts: Accounts, clock: Clock, name: str) -> None:
    for number in range(FAILURES_PER_NAME):
        fail(accounts, name, f"198.51.100.{number}")
        clock.moment += timedelta(minutes=16)
    with pytest.raises(SignInRefused, match="under this name"):
        accounts.sign_in(name, "wrong", "203.0.113.1")
    clock.moment = START + timedelta(days=1, seconds=1)
    fail(accounts, name, "203.0.113.1")
    with pytest.raises(SignInRefused, match="under this name"):
        accounts.sign_in(name, "wrong", "203.0.113.2")


def test_a_usual_place_is_one_of_that_name_within_ninety_days(accounts: Accounts, clock: Clock) -> None:
    accounts.add("other", PASSWORD, ["researcher"])
    accounts.sign_in("steward", PASSWORD, "10.0.0.1")
    accounts.sign_in("other", PASSWORD, "10.0.0.2")
    clock.moment += timedelta(days=89)
    for number in range(FAILURES_PER_NAME):
        fail(accounts, "steward", f"198.51.100.{number}")
    with pytest.raises(SignInRefused, match="under this name"):
        accounts.sign_in("steward", PASSWORD, "10.0.0.2")
    clock.moment += timedelta(minutes=1)
    accounts.sign_in("steward", PASSWORD, "10.0.0.1")
    clock.moment += timedelta(days=91)
    for number in range(FAILURES_PER_NAME):
        fail(accounts, "steward", f"198.51.100.{number}")
    with pytest.raises(SignInRefused, match="under this name"):
        accounts.sign_in("steward", PASSWORD, "10.0.0.1")


def test_a_new_password_forgets_failures_under_that_name_alone(accounts: Accounts) -> None:
    accounts.add("steward2", PASSWORD, ["steward"])
    for number in range(FAILURES_PER_NAME):
        fail(accounts, "steward", f"198.51.100.{number}")
    for name in ("steward", "steward2"):
        fail(accounts, name, "203.0.113.1", times=0 if name == "steward" else 5)
    accounts.set_password("steward", PASSWORD)
    accounts.sign_in("steward", PASSWORD, "192.0.2.1")
    with pytest.raises(SignInRefused, match="Too many"):
        accounts.sign_in("steward2", PASSWORD, "203.0.113.1")


def test_one_address_trying_many_names_is_stopped(accounts: Accounts) -> None:
    for attempt in range(FAILURES_PER_SOURCE):
        fail(accounts, f"name{attempt}", "10.9.9.9")
    with pytest.raises(SignInRefused, match="Too many"):
        accounts.sign_in("steward", PASSWORD, "10.9.9.9")
    accounts.sign_in("steward", PASSWORD, "10.0.0.1")


def test_failures_that_a_success_follows_are_forgotten_there(accounts: Accounts) -> None:
    for _ in range(7):  # 28 failures, below what a source may have
        fail(accounts, "steward", "10.0.0.1", times=4)
        accounts.sign_in("steward", PASSWORD, "10.0.0.1")


@pytest.mark.parametrize("typed", ["steward at:10.0.0.1", "10.0.0.1 steward", "here:10.0.0.1 steward"])
def test_no_text_typed_as_a_name_counts_for_another(accounts: Accounts, typed: str) -> None:
    for number in range(5):
        fail(accounts, typed, f"198.51.100.{number}")
    fail(accounts, "steward", "10.0.0.1", times=4)
    accounts.sign_in("steward", PASSWORD, "10.0.0.1")


def test_a_machine_has_many_addresses_and_is_one_source(accounts: Accounts) -> None:
    for number in range(5):
        fail(accounts, "steward", f"2001:db8:1:2::{number + 1:x}")
    with pytest.raises(SignInRefused, match="Too many"):
        accounts.sign_in("steward", PASSWORD, "2001:db8:1:2:ffff::1")
    accounts.sign_in("steward", PASSWORD, "2001:db8:1:3::1")
    assert source_of("::ffff:10.0.0.1") == source_of("10.0.0.1") == "10.0.0.1"
    assert source_of("unknown") == "unknown"


def test_many_guesses_at_the_same_time_are_no_more_than_allowed(accounts: Accounts) -> None:
    """Each is counted before its password is looked at."""

    def guess(_: int) -> str:
        try:
            accounts.sign_in("steward", "wrong", "10.0.0.1")
        except SignInRefused as error:
            return str(error)[:5]
        return "signed in"

    with ThreadPoolExecutor(12) as pool:
        told = list(pool.map(guess, range(24)))
    assert Counter(told) == {"Wrong": 5, "Too m": 19}


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
