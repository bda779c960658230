"""What a program does and what it takes, before anything is encrypted."""

from __future__ import annotations

import html
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from pycrcnn._quantities import bytes_text

__all__ = ["Explanation", "Step"]


@dataclass(frozen=True)
class Step:
    """One step of a program.

    Attributes
    ----------
    kind : str
        Packed: ``"linear"`` (a matrix over slots, then a division by one prime), ``"sum"`` (of rotations: copies of
        values, or partial sums added up) or ``"square"``. Per-value: the names of the layers.
    layers : str
        The layers of the network that a matrix computes: neighbours are one matrix.
    layout : str
        Where the values lie after it.
    primes : int
        Primes of its input; 0 where that does not change.
    scale_bits : float
        Of its output's scale (CKKS).
    noise_budget : int
        Bits that its output has left, at the least (BFV).
    weights, diagonals, hoisted_rotations, giant_rotations : int
        Weights that are not zero, over all slots; plaintext products; rotations of one ciphertext, which share a
        decomposition; rotations each of another ciphertext.
    seconds : float
        Predicted, on one core of this machine.
    """

    kind: str
    layers: str = ""
    layout: str = ""
    primes: int = 0
    scale_bits: float = 0.0
    noise_budget: int = 0
    weights: int = 0
    diagonals: int = 0
    hoisted_rotations: int = 0
    giant_rotations: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Explanation:
    """The plan of a program. ``print`` shows it, :meth:`as_dict` gives it as plain data, Jupyter shows a table.

    Attributes
    ----------
    layout, scheme : str
    degree : int
        The polynomial degree N.
    prime_bits : tuple of int
        Of the coefficient modulus, the key-switching prime (if any) last.
    modulus_bits, limit_bits : int
        Of the whole modulus, and the most that is secure: the smaller of the 2018 standard's and the 2024 guideline's.
    security : int
        Bits of security that were asked for.
    images : int
        That one run takes.
    input_scale_bits : float
        Of the scale at which images are encoded, or rounded to integers.
    input_layout : str
        Where the client puts the values of an image.
    steps : tuple of Step
    keys, key_bytes : int
        Evaluation keys, and the bytes of the key set, which holds them and the public key, as it is sent, once.
    bytes_up, bytes_down : int
        Of the encrypted images and answers of one run.
    memory_bytes : int
        What a server takes for it at the most, besides Python: keys and weights while they are made ready (packed), or
        the ciphertexts of a run.
    error : float
        The largest error of an answer that is to be expected: as simulated noise made it on the calibration images, or
        rounding to integers or digits; infinite where the digits of per-value answers outgrow the plaintext modulus.
    seconds : float
        Predicted for one run on one core of this machine, from bytes to bytes, by a rehearsal of its arithmetic.
    client_head : tuple of str
        Layers that the client computes after decryption.
    plain_moduli : tuple of int
        BFV: the plaintext moduli, each with a ciphertext of its own.
    mask_bits : float
        Per-value: the bits h by which re-randomised answers hide their digits, which say more of the weights than the
        number does. Each digit is within the statistical distance 2^-h of that of another network with the same
        answer; 0 where the plaintext modulus has no room for a mask.
    fresh_noise_budget, reply_noise_budget, reply_primes : int
        Packed BFV: bits that a fresh ciphertext and the reply have, at the least, and the primes of the reply.
    """

    layout: str
    scheme: str
    degree: int
    prime_bits: tuple[int, ...]
    modulus_bits: int
    limit_bits: int
    security: int
    images: int
    bytes_up: int
    bytes_down: int
    error: float
    input_scale_bits: float = 0.0
    input_layout: str = ""
    steps: tuple[Step, ...] = field(default=(), repr=False)
    keys: int = 0
    key_bytes: int = 0
    memory_bytes: int = 0
    seconds: float = 0.0
    client_head: tuple[str, ...] = ()
    plain_moduli: tuple[int, ...] = ()
    mask_bits: float = 0.0
    fresh_noise_budget: int = 0
    reply_noise_budget: int = 0
    reply_primes: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain data, for JSON."""
        return asdict(self)

    def _facts(self) -> Iterable[tuple[str, str]]:
        yield "layout", f"{self.layout}, {self.images} image{'s' if self.images > 1 else ''} a run"
        yield (
            "parameters",
            f"{self.scheme}, N = {self.degree}, primes of {'+'.join(map(str, self.prime_bits))} = {self.modulus_bits} "
            f"bits (limit {self.limit_bits} at {self.security}-bit security)",
        )
        if self.input_scale_bits:
            yield "input", f"scale 2^{self.input_scale_bits:.4g}{self.input_layout and ', '}{self.input_layout}"
        if self.plain_moduli:
            yield "plaintext moduli", " x ".join(map(str, self.plain_moduli))
        if self.layout == "per-value":
            yield "digits hidden", f"by {self.mask_bits:.1f} bits in re-randomised answers"
        if self.fresh_noise_budget:
            yield (
                "noise budget",
                f"{self.fresh_noise_budget} bits fresh, {self.reply_noise_budget} in the reply of {self.reply_primes} "
                f"prime{'s' if self.reply_primes > 1 else ''}, at the least",
            )
        keys = f"{self.keys} evaluation keys and the public key" if self.keys else "the public key"
        yield "key set", f"{keys}, {bytes_text(self.key_bytes)} sent once"
        yield "a run", f"{bytes_text(self.bytes_up)} up, {bytes_text(self.bytes_down)} down"
        if self.memory_bytes:
            yield "server's memory", bytes_text(self.memory_bytes)
        yield "expected error", f"{self.error:.2g}"
        if self.seconds:
            yield "expected time", f"{1e3 * self.seconds:.3g} ms on one core"
        if self.client_head:
            yield "client computes", ", ".join(self.client_head)

    _COLUMNS = ("step", "primes", "scale or budget", "weights", "diagonals", "rotations", "ms", "layers", "values lie")

    def _rows(self) -> Iterable[tuple[str, ...]]:
        for step in self.steps:
            budget = f"{step.noise_budget} bits" if step.noise_budget else ""
            numbers: list[Any] = [step.primes, f"2^{step.scale_bits:.4g}" if step.scale_bits else budget]
            rotations = step.hoisted_rotations or step.giant_rotations
            numbers += [step.weights, step.diagonals]
            numbers += [f"{step.hoisted_rotations}+{step.giant_rotations}" if rotations else ""]
            numbers += [f"{1e3 * step.seconds:.2f}" if step.seconds else ""]
            yield step.kind, *(str(number or "") for number in numbers), step.layers, step.layout

    def __str__(self) -> str:
        lines = [f"{name:>16}  {text}" for name, text in self._facts()]
        rows = [self._COLUMNS, *self._rows()]
        if self.steps:
            widths = [max(len(row[i]) for row in rows) for i in range(len(self._COLUMNS))]
            lines.append("")
            for row in rows:
                cells = (
                    cell.ljust(width) if i in (0, len(row) - 2, len(row) - 1) else cell.rjust(width)
                    for i, (cell, width) in enumerate(zip(row, widths, strict=True))
                )
                lines.append("  ".join(cells).rstrip())
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        facts = "".join(
            f"<tr><th>{html.escape(name)}</th><td>{html.escape(text)}</td></tr>" for name, text in self._facts()
        )
        head = "".join(f"<th>{column}</th>" for column in self._COLUMNS)
        rows = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in self._rows()
        )
        steps = f"<table><tr>{head}</tr>{rows}</table>" if self.steps else ""
        return f"<table>{facts}</table>{steps}"
