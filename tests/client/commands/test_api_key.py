"""API keys from a user's side: made, listed, paid into, closed; the secret is seen once."""

from pathlib import Path

from tests.client.commands.shell import Shell
from workunits.models.apikey import hash_of


def balance(shell: Shell) -> int:
    value = shell.good("credits", "--json").json["balance"]
    assert isinstance(value, int)
    return value


def test_a_key_is_paid_for_when_it_is_made_and_paid_back_when_it_is_closed(
    rich_shell: Shell,
) -> None:
    before = balance(rich_shell)
    said = rich_shell.good("api-key", "create", "--budget", "300", "--name", "editor")
    secret = said.out.strip()
    assert len(hash_of(secret)) == 32
    assert secret not in said.err
    assert f"OPENAI_BASE_URL={rich_shell.tracker}/v1" in said.err
    assert balance(rich_shell) == before - 300
    listed = rich_shell.good("api-key", "list")
    assert "editor" in listed.out
    assert hash_of(secret).hex()[:12] in listed.out
    said = rich_shell.good("api-key", "top-up", "editor", "50")
    assert said.out.endswith("has 350 credits left\n")
    said = rich_shell.good("api-key", "close", hash_of(secret).hex()[:10])
    assert said.out.endswith("is closed; 350 credits paid back\n")
    assert balance(rich_shell) == before
    assert "no API keys" in rich_shell.good("api-key", "list").err
    closed = rich_shell.good("api-key", "list", "--all", "--json").json
    assert [(each["name"], each["closed"], each["left"]) for each in closed] == [
        ("editor", True, 0)
    ]
    assert rich_shell.run("api-key", "close", "editor").status == 1
    ledger = rich_shell.good("ledger", "verify")
    assert ledger.out.splitlines()[-1].startswith("the ledger holds")


def test_scripts_get_everything_as_json(rich_shell: Shell) -> None:
    words = ("api-key", "create", "--budget", "10", "--per-minute", "3", "--json")
    made = rich_shell.good(*words).json
    assert hash_of(made["secret"]).hex() == made["hash"]
    assert made["base_url"] == f"{rich_shell.tracker}/v1"
    assert (made["budget"], made["per_minute"], made["name"]) == (10, 3, "")
    listed = rich_shell.good("api-key", "list", "--json").json
    assert [each["hash"] for each in listed] == [made["hash"]]
    assert made["secret"] not in str(listed)
    paid = rich_shell.good("api-key", "top-up", made["hash"], "5", "--json").json
    assert paid == {"hash": made["hash"], "left": 15}
    closed = rich_shell.good("api-key", "close", made["hash"], "--json").json
    assert closed == {"hash": made["hash"], "returned": 15}


def test_who_cannot_pay_gets_no_key(shell: Shell) -> None:
    said = shell.run("api-key", "create", "--budget", "10")
    assert said.status == 3
    assert "has 0 credits" in said.err
    assert said.out == ""
    assert "no API keys" in shell.good("api-key", "list").err


def test_a_name_that_two_keys_have_names_neither(rich_shell: Shell) -> None:
    for _ in range(2):
        rich_shell.good("api-key", "create", "--budget", "1", "--name", "twin")
    said = rich_shell.run("api-key", "close", "twin")
    assert said.status == 1
    assert "2 of your API keys" in said.err


def test_others_do_not_see_what_keys_somebody_has(rich_shell: Shell, tmp_path: Path) -> None:
    rich_shell.good("api-key", "create", "--budget", "1")
    other = Shell(tmp_path / "other", rich_shell.tracker)
    assert other.good("api-key", "list", "--json").json == []
