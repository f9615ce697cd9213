"""Every way to make a token that must not be taken, and keys and revocations that change while the service runs."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import stat
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import RSAAlgorithm
from typer.testing import CliRunner

from snn_fusion.cli import app
from snn_fusion.errors import BadInput
from snn_fusion.serving.keys import make_key, read_keys
from snn_fusion.serving.names import alike
from snn_fusion.serving.problems import Problem
from snn_fusion.serving.tokens import LONGEST_H, Identity, Role, Tokens, issue, may_promote
from tests.serving.signing import CLAIMS, Signer, part, replace

NAME = "snn-fusion"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return Signer(tmp_path_factory.mktemp("keys")).make("old").make("new", "RS256").make("shared", "HS256")


@pytest.fixture(scope="module")
def tokens(made: Signer) -> Tokens:
    return Tokens(made.keys, NAME, NAME)


@pytest.mark.parametrize("kid", ["old", "new", "shared"])
def test_a_token_of_each_algorithm_says_who_and_as_what(made: Signer, tokens: Tokens, kid: str) -> None:
    assert tokens.identity(made.token(kid)) == Identity("anna", Role.PREDICTOR, "token-1")


def unsigned(made: Signer) -> str:
    claims = {**CLAIMS, "iat": int(time.time()), "exp": int(time.time()) + 60}
    return f"{part({'alg': 'none', 'kid': 'old'})}.{part(claims)}."


def confused(made: Signer) -> str:
    """HS256 with the RSA key's public half, as PEM, for a secret."""
    pem = made.key("new").key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    claims = {**CLAIMS, "iat": int(time.time()), "exp": int(time.time()) + 60}
    content = f"{part({'alg': 'HS256', 'kid': 'new'})}.{part(claims)}"
    digest = hmac.new(pem, content.encode(), hashlib.sha256).digest()
    return f"{content}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def renamed(made: Signer) -> str:
    """A good token whose header names another key."""
    _, claims, signature = made.token("old").split(".")
    return f"{part({'alg': 'EdDSA', 'kid': 'new'})}.{claims}.{signature}"


def stranger(made: Signer) -> str:
    """The right kid, another key."""
    other = Signer(made.folder / "other")
    if not other.keys.exists():
        other.make("old")
    return other.token("old")


def changed(made: Signer) -> str:
    header, _, signature = made.token("old").split(".")
    return f"{header}.{part({**CLAIMS, 'role': 'admin', 'exp': int(time.time()) + 60})}.{signature}"


BAD: list[tuple[Callable[[Signer], str], str]] = [
    (unsigned, "another algorithm than its key"),
    (confused, "another algorithm than its key"),
    (renamed, "another algorithm than its key"),
    (stranger, "wrong signature"),
    (changed, "wrong signature"),
    (lambda made: made.token(exp=int(time.time()) - 1), "expired"),
    (lambda made: made.token(nbf=int(time.time()) + 30), "not valid yet"),
    (lambda made: made.token(iat=int(time.time()) + 30), "not valid yet"),
    (lambda made: made.token(aud="another"), "another audience"),
    (lambda made: made.token(aud=["another", "third"]), "another audience"),
    (lambda made: made.token(iss="another"), "another issuer"),
    (lambda made: made.token(exp=None), "lacks a claim"),
    (lambda made: made.token(iat=None), "lacks a claim"),
    (lambda made: made.token(exp=int(time.time()) + 3600 * LONGEST_H + 1), "good for too long"),
    (lambda made: made.token(iat=int(time.time()) - 3600 * LONGEST_H), "good for too long"),
    (lambda made: made.token(aud=None), "lacks a claim"),
    (lambda made: made.token(iss=None), "lacks a claim"),
    (lambda made: made.token(sub=None), "lacks a claim"),
    (lambda made: made.token(jti=None), "lacks a claim"),
    (lambda made: made.token(role=None), "no usable role"),
    (lambda made: made.token(role="root"), "no usable role"),
    (lambda made: made.token(role=["admin"]), "no usable role"),
    (lambda made: made.token(sub="a\nb"), "no usable sub"),
    (lambda made: made.token(sub="x" * 129), "no usable sub"),
    (lambda made: made.token(sub="\u0430nna"), "no usable sub"),
    (lambda made: made.token(sub="anna "), "no usable sub"),
    (lambda made: made.token(sub="an\u200bna"), "no usable sub"),
    (lambda made: made.token(sub="\uff41nna"), "no usable sub"),
    (lambda made: made.token(exp="soon"), "not a JSON Web Token"),
    (lambda made: made.token(exp=float("inf")), "not a JSON Web Token"),
    (lambda made: made.token(extra="x" * 8192), "at most 8,192"),
    (lambda made: "", "not a JSON Web Token"),
    (lambda made: "a.b", "not a JSON Web Token"),
    (lambda made: "\u00fc.\u00fc.\u00fc", "not a JSON Web Token"),
    (lambda made: f"{part({'alg': 'EdDSA', 'kid': 7})}.e30.", "not a JSON Web Token"),
    (lambda made: f"{part([])}.e30.", "not a JSON Web Token"),
    (lambda made: f"{part({'alg': 'EdDSA', 'kid': 'lost'})}.e30.", "a key that is not known"),
    (lambda made: f"{part({'alg': 'EdDSA'})}.e30.", "a key that is not known"),
]


@pytest.mark.parametrize(("bad", "message"), BAD)
def test_a_bad_token_is_refused_with_401_and_is_not_quoted(
    made: Signer, tokens: Tokens, bad: Callable[[Signer], str], message: str
) -> None:
    token = bad(made)
    with pytest.raises(Problem, match=message) as found:
        tokens.identity(token)
    assert found.value.status == 401
    assert all(piece not in str(found.value) for piece in token.split(".") if len(piece) > 3)


def test_keys_rotate_while_the_service_runs(tmp_path: Path) -> None:
    signer = Signer(tmp_path).make("old")
    tokens = Tokens(signer.keys, NAME, NAME)
    first = signer.token("old")
    signer.make("new", "EdDSA")
    assert tokens.identity(first) == tokens.identity(signer.token("new"))
    signer.drop("old")
    assert tokens.identity(signer.token("new"))
    with pytest.raises(Problem, match="not known"):
        tokens.identity(first)


def test_a_token_is_revoked_from_the_next_request_on(made: Signer, tmp_path: Path) -> None:
    revoked = tmp_path / "revoked"
    revoked.write_text("# lost laptops\n")
    tokens = Tokens(made.keys, NAME, NAME, revoked)
    assert tokens.identity(made.token())
    replace(revoked, "# lost laptops\ntoken-1  # anna's\n")
    with pytest.raises(Problem, match="revoked"):
        tokens.identity(made.token())
    assert tokens.identity(made.token(jti="token-2"))


@pytest.mark.parametrize("damage", [lambda p: p.unlink(), lambda p: replace(p, "{"), lambda p: replace(p, "{}")])
def test_while_the_key_file_is_broken_no_token_is_taken(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    signer = Signer(tmp_path).make("old")
    tokens = Tokens(signer.keys, NAME, NAME)
    whole = signer.keys.read_text()
    damage(signer.keys)
    for _ in range(2):
        with pytest.raises(Problem, match="cannot be checked now") as found:
            tokens.identity(signer.token())
        assert found.value.status == 503
    replace(signer.keys, whole)
    assert tokens.identity(signer.token())


def weak(path: Path) -> None:
    replace(path, json.dumps({"keys": [{"kid": "a", "alg": "HS256", "kty": "oct", "k": "c2VjcmV0"}]}))


def short(path: Path) -> None:
    key = RSAAlgorithm.to_jwk(generate_private_key(65537, 1024).public_key(), as_dict=True)
    replace(path, json.dumps({"keys": [{**key, "kid": "a", "alg": "RS256"}]}))


def edited(**changes: object) -> Callable[[Path], None]:
    def work(path: Path) -> None:
        key = {**json.loads(path.read_text())["keys"][0], **changes}
        replace(path, json.dumps({"keys": [key]}))

    return work


def private(path: Path) -> None:
    replace(path, json.dumps({"keys": [json.loads((path.parent / "old.private.json").read_text())]}))


def twice(path: Path) -> None:
    replace(path, json.dumps({"keys": json.loads(path.read_text())["keys"] * 2}))


def readable(path: Path) -> None:
    make_key(path.parent, "shared", "HS256")
    path.chmod(0o644)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (weak, r"keys\[0\].k: is a secret of 6 bytes \(at least 32"),
        (short, r"keys\[0\].n: is of 1024 bits \(at least 2048"),
        (edited(alg="none"), r"keys\[0\].alg: is missing, or not one that is taken"),
        (edited(alg=None), r"keys\[0\].alg: is missing"),
        (edited(alg="HS256"), r"keys\[0\].kty: does not fit HS256 \(oct"),
        (edited(crv="X25519"), r"keys\[0\].kty: does not fit EdDSA"),
        (edited(x="!"), r"keys\[0\]: is not a key"),
        (edited(kid="../../etc"), r"keys\[0\].kid: is missing, or not a name"),
        (private, r"keys\[0\]: is a private key"),
        (twice, r"keys\[1\]: kid old comes twice"),
        (readable, r"holds a secret that others .*chmod 600"),
        (lambda p: replace(p, '{"keys": [7]}'), r"keys\[0\]: is not an object"),
        (lambda p: p.unlink(), "cannot be read: No such file"),
        (lambda p: replace(p, "[" * 100_000), "is not JSON"),
    ],
)
def test_a_service_does_not_start_with_bad_keys(tmp_path: Path, damage: Callable[[Path], None], message: str) -> None:
    signer = Signer(tmp_path).make("old")
    damage(signer.keys)
    with pytest.raises(BadInput, match=message):
        Tokens(signer.keys, NAME, NAME)


def test_a_missing_file_of_revocations_is_not_taken_for_an_empty_one(made: Signer, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        Tokens(made.keys, NAME, NAME, tmp_path / "none")


@pytest.mark.parametrize("algorithm", ["EdDSA", "RS256", "HS256"])
def test_a_token_of_the_command_is_taken_and_its_key_is_readable_for_its_owner_only(
    tmp_path: Path, algorithm: str
) -> None:
    run = CliRunner().invoke
    assert run(app, ["keys", "k", "--alg", algorithm, "--out", str(tmp_path)]).exit_code == 0
    key = tmp_path / "k.private.json"
    assert stat.S_IMODE(key.stat().st_mode) == stat.S_IMODE((tmp_path / "keys.json").stat().st_mode) == 0o600
    made = run(app, ["token", "bert", "--role", "reviewer", "--hours", "0.5", "--key", str(key)])
    found = Tokens(tmp_path / "keys.json", NAME, NAME).identity(made.stdout.strip())
    assert (found.subject, found.role, len(found.token)) == ("bert", Role.REVIEWER, 32)
    said = re.fullmatch(r"jti (\w{32}), good until (\S+); .*revoked.*\n", made.stderr)
    assert said is not None and said[1] == found.token
    assert abs(datetime.fromisoformat(said[2]).timestamp() - time.time() - 1800) < 30


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["keys", "old"], "there is a key old already"),
        (["keys", "a/b"], "is 'a/b'"),
        (["token", "a", "--role", "viewer", "--key", "keys.json"], "kid: is missing"),
        (["token", "", "--role", "viewer", "--key", "old.private.json"], "has 0 characters"),
        (["token", "a", "--role", "viewer", "--hours", "0", "--key", "old.private.json"], "--hours: is 0"),
        (["token", "a", "--role", "viewer", "--key", "none.json"], "none.json: cannot be read"),
    ],
)
def test_the_commands_refuse_what_makes_no_sense(tmp_path: Path, arguments: list[str], message: str) -> None:
    Signer(tmp_path).make("old")
    arguments = [str(tmp_path / one) if one.endswith(".json") else one for one in arguments]
    out = ["--out", str(tmp_path)] if arguments[0] == "keys" else []
    with pytest.raises(BadInput, match=message):
        CliRunner().invoke(app, [*arguments, *out], catch_exceptions=False)


def test_a_public_key_signs_nothing(made: Signer, tmp_path: Path) -> None:
    public = tmp_path / "public.json"
    replace(public, json.dumps(json.loads(made.keys.read_text())["keys"][0]))
    with pytest.raises(BadInput, match="is a public key"):
        CliRunner().invoke(app, ["token", "a", "--role", "admin", "--key", str(public)], catch_exceptions=False)


def test_keys_json_holds_no_private_key(made: Signer) -> None:
    assert set(read_keys(made.keys)) == {"old", "new", "shared"}
    assert all("d" not in one for one in json.loads(made.keys.read_text())["keys"])


ANNA, ROOT = Identity("anna", Role.REVIEWER, "t"), Identity("anna", Role.ADMIN, "t")


def test_another_reviewers_model_may_be_promoted() -> None:
    may_promote(ANNA, {"registered_by": "bert"})
    may_promote(Identity("local", Role.ADMIN), {"registered_by": "bert"})  # no keys: nobody to tell apart


@pytest.mark.parametrize(
    ("identity", "tags", "message"),
    [
        (ANNA, {"registered_by": "anna"}, "was registered by you"),
        (ROOT, {"registered_by": "anna"}, "was registered by you"),
        (ANNA, {}, "has no tag registered_by"),
        (Identity("bert", Role.PREDICTOR, "t"), {"registered_by": "anna"}, "predictor may not promote"),
    ],
)
def test_ones_own_model_or_one_of_nobody_may_not_be_promoted(
    identity: Identity, tags: dict[str, str], message: str
) -> None:
    with pytest.raises(Problem, match=message) as found:
        may_promote(identity, tags)
    assert found.value.status == 403


ALIKE = ["Anna", " anna ", "an na", "\u0430nn\u0430", "\uff41nna", "an\u200bna", "ANNA", "\u0410NNA", "ann\u0251"]
UNSEEN = ["\u00ad", "\u034f", "\u115f", "\u1160", "\u17b4", "\u180e", "\u2800", "\u3164", "\ufe0f", "\U000e0101"]
ALIKE += [f"an{one}na" for one in UNSEEN] + [f"anna{one}" for one in UNSEEN]
ALIKE += ["\u1d00nna", "a\u0274\u0274a", "\u1d00\u0274\u0274\u1d00"]  # small capitals


@pytest.mark.parametrize("author", ALIKE)
def test_nobody_promotes_their_own_under_a_name_that_only_looks_different(author: str) -> None:
    with pytest.raises(Problem, match="registered by you"):
        may_promote(Identity("anna", Role.REVIEWER, "t"), {"registered_by": author})


@pytest.mark.parametrize("author", ["bert", "hanna", "ann", "anna2", "\u0430\u043d\u043d\u0430"])
def test_another_name_is_another_reviewer(author: str) -> None:
    may_promote(Identity("anna", Role.REVIEWER, "t"), {"registered_by": author})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("alice", "aIice"),
        ("line-1", "line-l"),
        ("coco", "\u0441\u043e\u0441\u043e"),
        ("line-1", "line\u20101"),
        ("stra\u00dfe", "STRASSE"),
        ("arnold", "amold"),
        ("vviktor", "wiktor"),
        ("vvw", "wvv"),
        ("\u043cax", "rnax"),
        ("\u1d0dax", "max"),
        ("\ua7af", "q"),
    ],
)
def test_names_that_a_reader_takes_for_each_other_are_one(one: str, other: str) -> None:
    assert alike(one, other) and alike(other, one)


def test_names_that_a_reader_tells_apart_are_two() -> None:
    assert not alike("lia", "ila") and not alike("line-1", "line-2")
    assert not alike("marvin", "rarvin") and not alike("wera", "vera")


UNUSABLE = ["\u0430nna", "a\u202enna", " anna", "\ufb01n", "", "x" * 129, "a\nb", *(f"a{c}b" for c in UNSEEN)]


@pytest.mark.parametrize("subject", UNUSABLE)
def test_no_token_is_made_for_a_name_that_could_be_taken_for_another(made: Signer, subject: str) -> None:
    with pytest.raises(BadInput, match=r"SUBJECT: .* is no usable name"):
        issue(made.folder / "old.private.json", subject, Role.VIEWER, 1, NAME, NAME)


@pytest.mark.parametrize("hours", [0.0, LONGEST_H + 0.1, 8784.0, float("nan"), float("inf")])
def test_no_token_is_made_for_longer_than_31_days(made: Signer, hours: float) -> None:
    with pytest.raises(BadInput, match=r"--hours: is .*above 0, up to 744"):
        issue(made.folder / "old.private.json", "anna", Role.VIEWER, hours, NAME, NAME)


@pytest.mark.parametrize(
    "subject", ["anna", "\u0430\u043d\u043d\u0430", "\u5c71\u7530 taro", "anna@example.org", "M\u00fcller", "auth0|12"]
)
def test_names_of_one_script_may_be_anybodys(made: Signer, tokens: Tokens, subject: str) -> None:
    token = issue(made.folder / "old.private.json", subject, Role.VIEWER, LONGEST_H, NAME, NAME).token
    assert tokens.identity(token).subject == subject
