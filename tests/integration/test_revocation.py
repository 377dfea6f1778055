"""Revocation: what a deleted VaultSecretID, or a role that is cut off, leaves of logins and tokens. Nothing."""

import time

import hvac
import pytest
import rig
from rig import custom, wait_until
from team import Team, check_no_secret, installed, operator, requests  # noqa: F401 - fixtures
from test_secret_id import Pair


@pytest.fixture(scope="module", autouse=True)
def few_tokens(bao):
    """An operator looks up each token that there is, a thousand a second: thousands of other tests' would take their time."""
    # Not waited for in the request: on a busy machine thousands take longer than its deadline.
    bao.root.write_data("sys/leases/revoke-prefix/auth/approle/login", data={"sync": False})
    wait_until(lambda: len(bao.root.list("auth/token/accessors")["data"]["keys"]) < 500, 200, "few tokens", every=0.5)


@pytest.fixture
def team(operator, installed, bao):
    team = Team(installed, bao)
    spec = team.stored("VaultConnection", "main")["spec"]
    spec["grants"][0]["rights"] = ["hcl", "revokeTokens"]
    team.apply(custom("VaultConnection", team.ns, "main", **spec))
    yield team
    installed.kubectl("delete", "namespace", team.ns, "--wait=false", "--ignore-not-found")


@pytest.fixture
def pair(team):
    pair = Pair(team)
    pair.apply(role={"revokeTokens": True, "tokenType": "service"})
    pair.published()
    return pair


def good(bao, token):
    """Whether Vault takes the token."""
    try:
        bao.client(token).auth.token.lookup_self()
        return True
    except (hvac.exceptions.Forbidden, hvac.exceptions.Unauthorized):
        return False


def token_of(pair, values=None, mount="approle"):
    return pair.login(values, mount)["auth"]["client_token"]


def test_a_deleted_secret_id_takes_its_tokens_with_it_and_no_others(pair, team, bao):
    other = Pair(team, "other")
    other.apply(role={"revokeTokens": True, "tokenType": "service"})
    other.published()
    values, mine, theirs = pair.values(), [token_of(pair) for _ in range(3)], token_of(other)
    team.delete("VaultSecretID", "s")
    wait_until(lambda: team.stored("VaultSecretID", "s") is None, 10)
    assert not pair.login(values)
    assert [good(bao, token) for token in mine] == [False] * 3
    assert good(bao, theirs) and other.login()


def test_a_rotation_revokes_the_old_ones_tokens_after_the_overlap(pair, team, bao):
    first = pair.values()
    old = token_of(pair)
    team.cluster.kubectl("annotate", "vaultsecretid", "s", "-n", team.ns, "keyshepherd.dev/rotate-now=1")
    pair.rotated(first)
    new = token_of(pair)
    assert good(bao, old)
    wait_until(lambda: not good(bao, old), 10)
    assert good(bao, new)
    wait_until(lambda: team.events("Revoked"), 5)


def test_without_the_right_nothing_is_revoked(team, bao):
    spec = team.stored("VaultConnection", "main")["spec"]
    spec["grants"][0]["rights"] = ["hcl"]
    team.apply(custom("VaultConnection", team.ns, "main", **spec))
    team.apply(team.role(revokeTokens=True))
    condition = team.wait_reason("VaultAppRole", "r", "NotGranted")
    assert "spec.revokeTokens" in condition["message"]


def test_batch_tokens_with_revocation_are_refused_at_admission(team):
    refused = team.cluster.kubectl("apply", "--server-side", "-f", "-", check=False,
                                   input=rig.json.dumps(team.role(revokeTokens=True, tokenType="batch")))
    assert refused.returncode and "batch tokens cannot be revoked" in refused.stderr


def test_a_role_that_is_cut_off_is_refused_at_once_and_comes_back_when_it_ends(pair, team, bao):
    values, token = pair.values(), token_of(pair)
    by_hand = bao.root.auth.approle.generate_secret_id(f"{team.ns}-r")["data"]["secret_id"]
    hand = token_of(pair, values | {"secret_id": by_hand})
    began = time.monotonic()
    team.cluster.kubectl("annotate", "vaultapprole", "r", "-n", team.ns, "keyshepherd.dev/cut-off=true")
    wait_until(lambda: not good(bao, token) and not good(bao, hand), 5, every=0.01)
    print(f"cut off after {time.monotonic() - began:.3f} s, with kubectl")
    team.wait_reason("VaultAppRole", "r", "CutOff")
    team.wait_reason("VaultSecretID", "s", "CutOff")
    wait_until(lambda: pair.accessors() == [], 5)
    assert not pair.login(values) and not pair.login(values | {"secret_id": by_hand})
    team.cluster.kubectl("annotate", "vaultapprole", "r", "-n", team.ns, "keyshepherd.dev/cut-off-")
    team.wait_reason("VaultAppRole", "r", "Reconciled")
    assert pair.login(pair.rotated(values, 20)) and not good(bao, token)


def test_a_cut_off_refuses_logins_with_a_role_id_that_was_changed_in_vault(team, bao):
    pair = Pair(team)
    pair.apply(role={"revokeTokens": True, "resyncPeriod": "1h"}, resyncPeriod="1h")
    values = pair.published()
    bao.root.auth.approle.update_role_id(f"{team.ns}-r", f"{team.ns}-by-hand")
    token = token_of(pair, values | {"role_id": f"{team.ns}-by-hand"})
    entity = bao.root.auth.token.lookup(token)["data"]["entity_id"]
    team.cluster.kubectl("annotate", "vaultapprole", "r", "-n", team.ns, "keyshepherd.dev/cut-off=true")
    team.wait_reason("VaultAppRole", "r", "CutOff")
    assert bao.root.secrets.identity.read_entity(entity)["data"]["disabled"]
    assert team.stored("VaultAppRole", "r")["status"]["cutOffEntity"] == entity
    team.cluster.kubectl("annotate", "vaultapprole", "r", "-n", team.ns, "keyshepherd.dev/cut-off-")
    assert pair.login(pair.rotated(values, 20))


def test_what_the_resource_does_not_own_is_not_cut_off(team, bao):
    bao.root.auth.approle.create_or_update_approle(f"{team.ns}-r", token_policies=["default"])
    by_hand = bao.root.auth.approle.generate_secret_id(f"{team.ns}-r")["data"]["secret_id"]
    team.apply(team.role(revokeTokens=True))
    team.wait_reason("VaultAppRole", "r", "AdoptionRefused")
    team.cluster.kubectl("annotate", "vaultapprole", "r", "-n", team.ns, "keyshepherd.dev/cut-off=true")
    told = team.wait_reason("VaultAppRole", "r", "NotGranted")
    assert "did not create or adopt" in told["message"]
    role_id = bao.root.auth.approle.read_role_id(f"{team.ns}-r")["data"]["role_id"]
    assert Pair(team).login({"role_id": role_id, "secret_id": by_hand})
    bao.root.auth.approle.delete_role(f"{team.ns}-r")


def test_a_role_that_goes_while_it_is_cut_off_can_be_made_again(team, bao):
    pair = Pair(team)
    role = {"revokeTokens": True, "roleID": f"{team.ns}-pinned"}
    pair.apply(role=role)
    values = pair.published()
    token = token_of(pair, values)
    team.cluster.kubectl("annotate", "vaultapprole", "r", "-n", team.ns, "keyshepherd.dev/cut-off=yes")
    team.wait_reason("VaultAppRole", "r", "CutOff")
    team.delete("VaultAppRole", "r")
    wait_until(lambda: team.stored("VaultAppRole", "r") is None, 10)
    team.apply(team.role(**role))
    team.wait_reason("VaultAppRole", "r", "Reconciled")
    assert pair.login(pair.rotated(values, 20)) and not good(bao, token)


# Vault folds the name of a role to lower case, and never the path of a mount.
CAPITALS = "AppRole-Prod"


@pytest.fixture(scope="module")
def capitals(bao):
    """The mount AppRole-Prod, and approle-prod beside it, which is another mount."""
    for path in (CAPITALS, CAPITALS.lower()):
        bao.root.sys.enable_auth_method("approle", path=path)
        bao.root.write_data(f"sys/auth/{path}/tune", data={"user_lockout_config": {"lockout_disable": True}})
    yield CAPITALS
    for path in (CAPITALS, CAPITALS.lower()):
        bao.root.sys.disable_auth_method(path)


def with_mounts(team, *mounts):
    spec = team.stored("VaultConnection", "main")["spec"]
    spec["grants"][0]["mounts"] = list(mounts)
    team.apply(custom("VaultConnection", team.ns, "main", **spec))


def test_on_a_mount_with_capital_letters_a_deleted_secret_id_takes_its_tokens_with_it(team, bao, capitals):
    with_mounts(team, capitals)
    pair = Pair(team)
    pair.apply(role={"name": f"{team.ns}-R", "mount": capitals, "revokeTokens": True, "tokenType": "service"})
    values = pair.published()
    token = token_of(pair, values, capitals)
    team.delete("VaultSecretID", "s")
    wait_until(lambda: team.stored("VaultSecretID", "s") is None, 10)
    assert not pair.login(values, capitals) and not good(bao, token)


def test_on_a_mount_with_capital_letters_a_cut_off_revokes_the_tokens_before_it_ends(team, bao, capitals):
    with_mounts(team, capitals)
    pair = Pair(team)
    pair.apply(role={"name": f"{team.ns}-R", "mount": capitals, "revokeTokens": True, "tokenType": "service"})
    values = pair.published()
    token = token_of(pair, values, capitals)
    team.cluster.kubectl("annotate", "vaultapprole", "r", "-n", team.ns, "keyshepherd.dev/cut-off=true")
    team.wait_reason("VaultAppRole", "r", "CutOff")
    wait_until(lambda: any("revoked 1 tokens" in e["note"] for e in team.events("CutOff")), 10)
    assert not good(bao, token)
    team.cluster.kubectl("annotate", "vaultapprole", "r", "-n", team.ns, "keyshepherd.dev/cut-off-")
    team.wait_reason("VaultAppRole", "r", "Reconciled")
    assert pair.login(pair.rotated(values, 20), capitals) and not good(bao, token)


def test_a_role_of_the_same_name_on_a_mount_that_differs_in_case_keeps_its_tokens(team, bao, capitals):
    with_mounts(team, capitals, capitals.lower())
    pair, other = Pair(team), f"{team.ns}-r"
    pair.apply(role={"mount": capitals, "revokeTokens": True, "tokenType": "service"})
    values = pair.published()
    bao.root.auth.approle.create_or_update_approle(other, token_policies=["default"], mount_point=capitals.lower())
    theirs = bao.client().auth.approle.login(
        bao.root.auth.approle.read_role_id(other, mount_point=capitals.lower())["data"]["role_id"],
        bao.root.auth.approle.generate_secret_id(other, mount_point=capitals.lower())["data"]["secret_id"],
        mount_point=capitals.lower())["auth"]["client_token"]
    token = token_of(pair, values, capitals)
    team.delete("VaultSecretID", "s")
    wait_until(lambda: not good(bao, token), 10)
    assert good(bao, theirs)


def test_batch_tokens_are_not_made_valid_again_when_a_cut_off_ends(team, bao):
    pair = Pair(team)
    pair.apply(role={"tokenType": "batch"})
    values = pair.published()
    token = token_of(pair, values)
    assert good(bao, token)
    team.cluster.kubectl("annotate", "vaultapprole", "r", "-n", team.ns, "keyshepherd.dev/cut-off=true")
    team.wait_reason("VaultAppRole", "r", "CutOff")
    assert not good(bao, token)
    entity = team.stored("VaultAppRole", "r")["status"]["cutOffEntity"]
    team.cluster.kubectl("annotate", "vaultapprole", "r", "-n", team.ns, "keyshepherd.dev/cut-off-")
    told = team.wait_reason("VaultAppRole", "r", "EntityDisabled")["message"]
    assert "batch tokens" in told and f"vault write identity/entity/id/{entity} disabled=false" in told
    assert not good(bao, token)
    team.look("VaultAppRole", "r")  # which changes nothing while nobody has acted
    time.sleep(1)
    assert team.condition("VaultAppRole", "r")["reason"] == "EntityDisabled" and not good(bao, token)
    # What the message says. It deletes nothing in Vault, and leaves the time of it to a person.
    bao.root.write_data(f"identity/entity/id/{entity}", data={"disabled": False})
    team.look("VaultAppRole", "r")
    team.wait_reason("VaultAppRole", "r", "Reconciled")
    assert pair.login(pair.rotated(values, 20))


def test_the_entity_of_a_cut_off_may_be_deleted(team, bao):
    pair = Pair(team)
    pair.apply(role={"tokenType": "batch"})
    values = pair.published()
    token = token_of(pair, values)
    team.cluster.kubectl("annotate", "vaultapprole", "r", "-n", team.ns, "keyshepherd.dev/cut-off=true")
    team.wait_reason("VaultAppRole", "r", "CutOff")
    entity = team.stored("VaultAppRole", "r")["status"]["cutOffEntity"]
    team.cluster.kubectl("annotate", "vaultapprole", "r", "-n", team.ns, "keyshepherd.dev/cut-off-")
    team.wait_reason("VaultAppRole", "r", "EntityDisabled")
    bao.root.secrets.identity.delete_entity(entity)
    team.look("VaultAppRole", "r")
    team.wait_reason("VaultAppRole", "r", "Reconciled")
    assert pair.login(pair.rotated(values, 20)) and not good(bao, token)


def test_a_tokens_list_that_is_not_given_keeps_the_entity_disabled(team, bao):
    """With `revokeTokens` granted and `auth/token/accessors` denied, nothing says that no token is left."""
    pair = Pair(team)
    pair.apply(role={"tokenType": "service"})
    values = pair.published()
    token = token_of(pair, values)
    policies = bao.root.auth.kubernetes.read_role("keyshepherd-operator")["token_policies"]
    bao.root.sys.create_or_update_policy("no-accessors", 'path "auth/token/accessors" { capabilities = ["deny"] }')
    bao.root.write_data("auth/kubernetes/role/keyshepherd-operator", data={"token_policies": [*policies, "no-accessors"]})
    try:
        spec = team.stored("VaultConnection", "main")["spec"]
        team.apply(custom("VaultConnection", team.ns, "main", **spec | {"deletionTimeout": "2m"}))  # logs in anew
        team.cluster.kubectl("annotate", "vaultapprole", "r", "-n", team.ns, "keyshepherd.dev/cut-off=true")
        wait_until(lambda: not good(bao, token), 10)
        team.wait_reason("VaultAppRole", "r", "PermissionDenied")
        team.cluster.kubectl("annotate", "vaultapprole", "r", "-n", team.ns, "keyshepherd.dev/cut-off-")
        team.cluster.kubectl("annotate", "vaultapprole", "r", "-n", team.ns, "keyshepherd.dev/reconcile-at=1")
        time.sleep(3)  # several attempts
        assert team.condition("VaultAppRole", "r")["reason"] == "PermissionDenied" and not good(bao, token)
    finally:
        bao.root.write_data("auth/kubernetes/role/keyshepherd-operator", data={"token_policies": policies})
        bao.root.sys.delete_policy("no-accessors")
    team.apply(custom("VaultConnection", team.ns, "main", **spec))
    team.wait_reason("VaultAppRole", "r", "Reconciled", 30)
    assert not good(bao, token)
