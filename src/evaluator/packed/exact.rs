//! Packed operations on BFV ciphertexts: exact arithmetic modulo t in every slot.
//!
//! Ciphertexts are in NTT form from the first step to the last. Rotations permute it, products by diagonals and key
//! switching are pointwise in it, and a square leaves it only to be lifted and scaled down, which coefficient form would need
//! as many transforms for; between matrices coefficient form would cost two transforms a prime each way.
//!
//! The slots are two rows of N/2, and rotations turn both alike. A step may end with a division by the last prime
//! ([`Drop`](Descent::Drop)), which costs next to nothing, since what a key switch leaves is divided by P anyway: the noise
//! has grown by then, so that what the division rounds off does not show, and later steps have fewer primes.

use rayon::prelude::*;

use super::extended::{Digits, Extended};
use super::keys::PackedKeys;
use super::linear::{Diagonals, Group};
use crate::encoding::BatchEncoder;
use crate::encryption::PlainScaling;
use crate::error::{Error, Result};
use crate::evaluator::Evaluator;
use crate::ring::Residues;
use crate::runtime::Cancellation;
use crate::scheme::{Ciphertext, Context, Form, ParmsId, Plaintext, Scheme};

/// Whether a step divides its result by the last prime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Descent {
    /// the level stays
    Stay,
    /// one prime less
    Drop,
}

impl Descent {
    /// The primes of a result.
    pub fn left(self, primes: usize) -> usize {
        primes - usize::from(self == Self::Drop)
    }
}

/// A matrix modulo t with its diagonals encoded, for BFV ciphertexts of one level.
#[derive(Debug)]
pub struct ExactTransform {
    diagonals: Diagonals,
    parms_id: ParmsId,
    descent: Descent,
    /// round(q m / t) at the level of the result, in NTT form
    bias: Option<Residues>,
}

impl ExactTransform {
    /// Encodes the matrix that gives the sum over groups of rot_giant(sum of diagonal * rot_baby(x)), plus `bias`, modulo t,
    /// for ciphertexts with `primes` primes. Diagonals have N slots in `[0, t)`; a rotation by s puts slot i + s of a row
    /// into its slot i. Diagonals are encoded in parallel on the rayon pool of the caller.
    ///
    /// # Errors
    /// [`Error::LevelExhausted`] where no prime is left to divide by; [`Error::Unsupported`] without a key-switching prime;
    /// [`Error::Unencodable`] for residues that are not reduced; [`Error::ParametersMismatch`] for an encoder of another
    /// context; [`Error::InvalidArgument`] for a rotation that does not exist.
    pub fn new(
        context: &Context,
        encoder: &BatchEncoder,
        primes: usize,
        descent: Descent,
        groups: &[Group<u64>],
        bias: Option<&[u64]>,
    ) -> Result<Self> {
        const OPERATION: &str = "linear transform";
        if !context.parameters().key_switching() {
            return Err(super::no_key_switching(OPERATION));
        }
        let fitting = (context.parameters().plain_modulus(), context.degree());
        if (encoder.plain_modulus(), encoder.slots()) != fitting {
            return Err(Error::ParametersMismatch { operation: OPERATION, object: "encoder" });
        }
        if !(1..=context.data_primes()).contains(&primes) || descent.left(primes) == 0 {
            return Err(Error::LevelExhausted { operation: OPERATION, needed: 1, available: 0 });
        }
        let encode = |values: &[u64]| encode_extended(context, encoder, values, primes);
        let diagonals = Diagonals::new(context, primes, groups, encode)?;
        let left = descent.left(primes);
        let scaled = |values: &[u64]| {
            let mut rows = Residues::zeros(left * context.degree());
            if let (Plaintext::Bfv(message), Some(scaling)) =
                (encoder.encode_unsigned(values)?, PlainScaling::new(context, left))
            {
                scaling.add(&message, &mut rows);
            }
            let tables = context.tables();
            rows.chunks_exact_mut(context.degree()).zip(tables).for_each(|(row, table)| table.forward(row));
            Ok(rows)
        };
        let bias = bias.map(scaled).transpose()?;
        Ok(Self { diagonals, parms_id: context.parms_id(primes), descent, bias })
    }

    /// Bytes of the encoded weights.
    pub fn bytes(&self) -> usize {
        self.diagonals.bytes()
    }
}

/// The plaintext with these slots modulo the primes of a level and the key-switching prime, in NTT form. Residues above t/2
/// stand for negative numbers, so that the noise grows with |m|.
fn encode_extended(context: &Context, encoder: &BatchEncoder, values: &[u64], primes: usize) -> Result<Residues> {
    let Plaintext::Bfv(message) = encoder.encode_unsigned(values)? else {
        return Err(Error::ParametersMismatch { operation: "encode", object: "plaintext" });
    };
    let t = encoder.plain_modulus();
    let tables = context.tables();
    let chosen = tables[..primes].iter().chain(tables.last());
    let mut rows = Residues::stale((primes + 1) * context.degree());
    for (row, table) in rows.chunks_exact_mut(context.degree()).zip(chosen) {
        let q = table.modulus();
        for (out, &m) in row.iter_mut().zip(&message) {
            *out = if m > t / 2 { q.neg(q.reduce(t - m)) } else { q.reduce(m) };
        }
        table.forward(row);
    }
    Ok(rows)
}

impl Evaluator {
    /// The matrix times both rows of slots of `x`, plus the bias, modulo t; on the rayon pool of the caller.
    ///
    /// # Errors
    /// [`Error::OperandMismatch`] for a ciphertext of another level or form than the transform was encoded for,
    /// [`Error::MissingKey`], [`Error::ParametersMismatch`] also for a transform of another plaintext modulus,
    /// [`Error::Interrupted`].
    pub fn exact_transform(
        &self,
        x: &Ciphertext,
        transform: &ExactTransform,
        keys: &PackedKeys,
        cancellation: &Cancellation,
    ) -> Result<Ciphertext> {
        const OPERATION: &str = "linear transform";
        self.check_exact(OPERATION, x)?;
        if x.primes() == transform.diagonals.primes() && x.parms_id() != transform.parms_id {
            return Err(Error::ParametersMismatch { operation: OPERATION, object: "matrix" });
        }
        let sum = self.multiply_diagonals(OPERATION, x, &transform.diagonals, keys, cancellation)?;
        let mut product = self.descend(OPERATION, &sum, transform.descent)?;
        if let Some(bias) = &transform.bias {
            self.add_rows(&mut product, bias);
        }
        Ok(product)
    }

    /// The square of every slot of `x` modulo t, relinearized.
    ///
    /// # Errors
    /// [`Error::MissingKey`], [`Error::LevelExhausted`], [`Error::ParametersMismatch`], [`Error::OperandMismatch`],
    /// [`Error::Interrupted`].
    pub fn exact_square(
        &self,
        x: &Ciphertext,
        descent: Descent,
        keys: &PackedKeys,
        cancellation: &Cancellation,
    ) -> Result<Ciphertext> {
        const OPERATION: &str = "square";
        self.check_exact(OPERATION, x)?;
        let primes = x.primes();
        let key = keys.relinearization(OPERATION, primes)?;
        let degree = self.context.degree();
        let mut square = self.scale_down(self.tensor_square(&self.lift(x)?)?, Form::Coefficient)?;
        cancellation.check()?;
        let digits = Digits::of_coefficients(self, Residues::from_slice(square.poly(2)));
        let tables = self.context.tables();
        square.data_mut()[..2 * primes * degree]
            .par_chunks_exact_mut(degree)
            .enumerate()
            .for_each(|(row, values)| tables[row % primes].forward(values));
        let mut sum = Extended::stale(primes, degree);
        sum.par_rows().for_each(|(i, [out0, out1])| {
            let digits = digits.modulo(i, self.extended_table(i, primes));
            self.inner_product(i, &digits, key, [&mut *out0, &mut *out1]);
            self.add_lifted(i, out0, &square, 0);
            self.add_lifted(i, out1, &square, 1);
        });
        self.descend(OPERATION, &sum, descent)
    }

    /// Both polynomials divided by the key-switching prime, and by the last prime where the step drops it.
    fn descend(&self, operation: &'static str, sum: &Extended, descent: Descent) -> Result<Ciphertext> {
        match (descent, &self.special) {
            (Descent::Drop, _) => Ok(self.divide_by_pair(self.pair_division(operation, sum.primes)?, sum, 1.0)),
            (Descent::Stay, Some(division)) => Ok(self.divide_by_special(division, sum, 1.0)),
            (Descent::Stay, None) => Err(super::no_key_switching(operation)),
        }
    }

    /// A BFV ciphertext of two polynomials in NTT form, with a prime for key switching.
    fn check_exact(&self, operation: &'static str, x: &Ciphertext) -> Result<()> {
        if self.scheme() != Scheme::Bfv {
            let reason = "exact steps run on BFV ciphertexts".into();
            return Err(Error::Unsupported { operation, reason });
        }
        self.check_packed(operation, x)
    }
}

#[cfg(test)]
mod tests;
