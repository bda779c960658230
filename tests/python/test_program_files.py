"""Programs, clients, keys and ciphertexts as files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pycrcnn.errors import (
    FormatError,
    InvalidTypeError,
    InvalidValueError,
    KeyMismatchError,
    MissingKeyError,
    PassphraseError,
    PyCrCNNError,
)
from pycrcnn.program import Answer, ClientProgram, EncryptedImages, EvaluationKeys, Keys, Program
from small_programs import (
    COMPILE,
    IMAGES,
    packed,
    small_network,
)


@pytest.mark.parametrize("layout", COMPILE)
def test_programs_clients_and_keys_come_back_from_files(layout: str, tmp_path: Path) -> None:
    head = [] if layout == "per-value" else [{"type": "softmax"}]
    program = COMPILE[layout]([*small_network(), *head])
    program.save(tmp_path / "program")
    program.client.save(tmp_path / "client")
    server, client = Program.load(tmp_path / "program"), ClientProgram.load(tmp_path / "client")
    client.keygen().save(tmp_path / "keys")
    assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == ["evaluation.key", "public.key", "secret.key"]
    assert (tmp_path / "keys" / "secret.key").stat().st_mode & 0o777 == 0o600
    keys = Keys.load(client, tmp_path / "keys")
    for encrypt in (keys.encrypt, keys.public.encrypt):
        encrypt(IMAGES).save(tmp_path / "images")
        answer = server.run(
            EncryptedImages.load(tmp_path / "images"), EvaluationKeys.load(tmp_path / "keys" / "evaluation.key")
        )
        answer.save(tmp_path / "answer")
        decrypted = keys.decrypt(Answer.load(tmp_path / "answer"))
        np.testing.assert_allclose(decrypted, program.predict(IMAGES), rtol=0, atol=0.05)
    np.testing.assert_array_equal(server.predict(IMAGES), program.predict(IMAGES))
    assert server.error == program.error
    assert server.explain().degree == program.context.degree
    # No weight is in what the client holds.
    weights = b"".join(np.asarray(layer["weight"]).tobytes() for layer in small_network() if "weight" in layer)
    assert len((tmp_path / "client").read_bytes()) < 2000
    assert weights[:8] not in (tmp_path / "client").read_bytes()
    for path, read in [
        ("program", Program.load),
        ("client", ClientProgram.load),
        ("images", EncryptedImages.load),
        ("keys/evaluation.key", EvaluationKeys.load),
    ]:
        data = (tmp_path / path).read_bytes()
        for broken in (b"", data[:10], b"x" + data[1:], data[:7] + b"\x09" + data[8:]):
            (tmp_path / "broken").write_bytes(broken)
            with pytest.raises(FormatError):
                read(tmp_path / "broken")
    with pytest.raises(FormatError):
        Program.load(tmp_path / "client")
    other = COMPILE[layout](small_network(seed=2)).client
    with pytest.raises(KeyMismatchError, match="another program"):
        Keys.load(other, tmp_path / "keys")


def test_secret_keys_under_a_passphrase(tmp_path: Path) -> None:
    program = packed()
    keys = program.keygen()
    answer = program.run(keys.encrypt(IMAGES), keys.evaluation)
    keys.save(tmp_path, "correct horse")
    assert keys.secret.to_secret_bytes()[40:80] not in (tmp_path / "secret.key").read_bytes()
    assert (tmp_path / "secret.key").stat().st_mode & 0o777 == 0o600
    loaded = Keys.load(program.client, tmp_path, "correct horse")
    assert np.array_equal(loaded.decrypt_raw(answer), keys.decrypt_raw(answer))
    for passphrase, message in [(None, "is locked"), ("wrong horse", "is not the one"), ("correct horse ", "is not")]:
        with pytest.raises(PassphraseError, match=message) as refused:
            Keys.load(program.client, tmp_path, passphrase)
        assert refused.value.code == "wrong-passphrase"
    with pytest.raises(InvalidValueError, match="passphrase: it is empty"):
        keys.save(tmp_path / "empty", "")
    locked = (tmp_path / "secret.key").read_bytes()
    for at in (-1, -len(locked) // 2):
        changed = bytearray(locked)
        changed[at] ^= 1
        (tmp_path / "secret.key").write_bytes(changed)
        with pytest.raises(PassphraseError, match="the file was changed"):
            Keys.load(program.client, tmp_path, "correct horse")
    (tmp_path / "secret.key").write_bytes(locked[: locked.index(b"pyclock") + 30])
    with pytest.raises(FormatError, match="end early"):
        Keys.load(program.client, tmp_path, "correct horse")


def test_packed_programs_need_their_own_keys() -> None:
    program, other = packed(), packed(small_network(seed=2))
    keys = program.keygen()
    images = keys.encrypt(IMAGES)
    with pytest.raises(MissingKeyError, match=r"needs evaluation keys; .*keys\.evaluation"):
        program.run(images)
    with pytest.raises(KeyMismatchError, match="another program"):
        program.run(images, other.keygen().evaluation)
    with pytest.raises(KeyMismatchError, match="another program"):
        other.run(images, other.keygen().evaluation)
    with pytest.raises(InvalidTypeError, match=r"keys\.evaluation"):
        program.run(images, keys)  # type: ignore[arg-type]
    none = EvaluationKeys(b"", program.program_id)
    with pytest.raises(FormatError, match="no key set"):
        program.run(images, none)
    forged = EvaluationKeys(other.keygen().evaluation.data, program.program_id)
    try:
        wrong = keys.decrypt(program.run(images, forged))  # keys under another secret
    except PyCrCNNError:
        pass
    else:
        assert np.abs(wrong - program.predict(IMAGES)).max() > 1


@pytest.mark.parametrize("layout", COMPILE)
def test_key_sets_are_checked_and_no_secret_key_is_taken_for_one(layout: str, tmp_path: Path) -> None:
    program = COMPILE[layout]()
    keys = program.keygen()
    images = keys.encrypt(IMAGES)
    keys.save(tmp_path)
    with pytest.raises(FormatError, match=r"secret key .*generate new keys") as refused:
        EvaluationKeys.load(tmp_path / "secret.key")
    assert refused.value.code == "secret-key"
    data = keys.evaluation.data
    for broken in (
        b"",
        keys.secret.to_secret_bytes(),
        data[:-1],
        data[:79],
        data[:100] + bytes([data[100] ^ 1]) + data[101:],
        data + b"x",
    ):
        with pytest.raises(FormatError, match="key set"):
            program.run(images, EvaluationKeys(broken, program.program_id))
    with pytest.raises(KeyMismatchError, match="another program"):
        program.run(images, EvaluationKeys(data, "0" * 64))
    assert abs(len(data) - program.explain().key_bytes) < 1000
