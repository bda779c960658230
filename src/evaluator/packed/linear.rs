//! A matrix times a vector of slots, by diagonals: baby-step giant-step with rotations hoisted twice.
//!
//! The digits of a ciphertext serve all baby rotations; their inner products with the keys stay modulo the primes and
//! the key-switching prime P, are multiplied by the diagonals and added up there. Each giant needs one division by P, of one
//! polynomial, and one decomposition. What all of them leave is divided by P once, together with the rescaling.
//! Bossuat, Mouchet, Troncoso-Pastoriza and Hubaux, "Efficient bootstrapping for approximate homomorphic encryption with
//! non-sparse keys" (EUROCRYPT 2021), section 4.

use std::collections::BTreeSet;

use rayon::prelude::*;

use super::extended::{Digits, Extended, Pair, pair};
use super::keys::{PackedKeys, RotationKey, extended_moduli};
use crate::encoding::CkksEncoder;
use crate::error::{Error, Result};
use crate::evaluator::Evaluator;
use crate::ring::{Kernels, Residues, Rows, Word};
use crate::runtime::Cancellation;
use crate::scheme::{Ciphertext, Context, Form, Plaintext};

/// Diagonals whose sum is rotated together: of real numbers, or of residues modulo t.
#[derive(Debug, Clone, PartialEq)]
pub struct Group<T = f64> {
    /// the rotation of the sum
    pub giant: usize,
    /// baby rotations of the input, and what each is multiplied by, slot by slot
    pub diagonals: Vec<(usize, Vec<T>)>,
}

/// A matrix over the slots of CKKS with its diagonals encoded.
#[derive(Debug)]
pub struct LinearTransform {
    diagonals: Diagonals,
    input_scale: f64,
    output_scale: f64,
    bias: Option<Plaintext>,
}

/// The diagonals of a matrix, encoded for ciphertexts of one level.
#[derive(Debug)]
pub(super) struct Diagonals {
    primes: usize,
    /// baby rotations, ascending
    babies: Vec<usize>,
    groups: Vec<EncodedGroup>,
}

#[derive(Debug)]
struct EncodedGroup {
    giant: usize,
    /// which baby, and the diagonal modulo the primes and the key-switching prime
    diagonals: Vec<(usize, Rows)>,
}

impl EncodedGroup {
    /// The sum of products with rotated inputs modulo prime number `i`.
    fn add_up(&self, i: usize, kernels: &Kernels, rotated: &[[&[u64]; 2]], out: Pair<'_>) {
        match self.diagonals.first() {
            Some((_, rows)) if rows.is_narrow(i) => self.add_up_of::<u32>(i, kernels, rotated, out),
            _ => self.add_up_of::<u64>(i, kernels, rotated, out),
        }
    }

    fn add_up_of<W: Word>(&self, i: usize, kernels: &Kernels, rotated: &[[&[u64]; 2]], out: Pair<'_>) {
        let weights: Vec<&[W]> = self.diagonals.iter().map(|(_, rows)| rows.row(0, i)).collect();
        let inputs: Vec<[&[u64]; 2]> = self.diagonals.iter().map(|(baby, _)| rotated[*baby]).collect();
        kernels.inner_products(out, &weights, &inputs);
    }
}

impl LinearTransform {
    /// Encodes the matrix that gives the sum over groups of rot_giant(sum of diagonal * rot_baby(x)), plus `bias`, for
    /// ciphertexts with `primes` primes at `input_scale`; diagonals are encoded at the scale that brings the result, rescaled,
    /// to `output_scale`. A rotation by s puts slot i + s modulo N/2 in slot i. Diagonals are encoded in parallel on the rayon
    /// pool of the caller.
    ///
    /// # Errors
    /// [`Error::LevelExhausted`] where no prime is left to divide by; [`Error::Unsupported`] without a key-switching prime;
    /// errors of the encoding; [`Error::InvalidArgument`] for a rotation that does not exist.
    pub fn new(
        encoder: &CkksEncoder,
        primes: usize,
        input_scale: f64,
        output_scale: f64,
        groups: &[Group],
        bias: Option<&[f64]>,
    ) -> Result<Self> {
        let context = encoder.context();
        if primes < 2 {
            return Err(Error::LevelExhausted { operation: "linear transform", needed: 1, available: 0 });
        }
        let plain_scale = output_scale / input_scale * context.modulus(primes - 1).value() as f64;
        let encode = |values: &[f64]| encoder.encode_extended(values, plain_scale, primes);
        let diagonals = Diagonals::new(context, primes, groups, encode)?;
        let bias = bias.map(|bias| encoder.encode(bias, output_scale, primes - 1)).transpose()?;
        Ok(Self { diagonals, input_scale, output_scale, bias })
    }

    /// The rotations whose keys are needed.
    pub fn rotations(&self) -> BTreeSet<usize> {
        self.diagonals.rotations()
    }

    /// Bytes of the encoded weights.
    pub fn bytes(&self) -> usize {
        self.diagonals.bytes()
    }
}

impl Diagonals {
    /// Encodes diagonals over rows of N/2 slots with `encode`, which gives residues modulo `primes` primes and the
    /// key-switching prime; in parallel on the rayon pool of the caller.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a rotation that does not exist, and those of `encode`.
    pub fn new<T: Sync>(
        context: &Context,
        primes: usize,
        groups: &[Group<T>],
        encode: impl Fn(&[T]) -> Result<Residues> + Sync,
    ) -> Result<Self> {
        let (degree, slots) = (context.degree(), context.degree() / 2);
        let rotations = || groups.iter().flat_map(|g| g.diagonals.iter().map(|(baby, _)| *baby).chain([g.giant]));
        if let Some(step) = rotations().find(|&step| step >= slots) {
            let reason = format!("a rotation by {step} of {slots} slots");
            return Err(Error::InvalidArgument { name: "groups", reason });
        }
        let babies: BTreeSet<usize> = groups.iter().flat_map(|g| g.diagonals.iter().map(|(baby, _)| *baby)).collect();
        let babies: Vec<usize> = babies.into_iter().collect();
        let diagonal = |(baby, values): &(usize, Vec<T>)| {
            let at = babies.binary_search(baby).unwrap_or_default();
            let wide = encode(values)?;
            let copy = |row: usize, out: &mut [u64]| {
                out.copy_from_slice(&wide[row * degree..(row + 1) * degree]);
                Ok(())
            };
            Ok((at, Rows::new(degree, extended_moduli(context, primes), 1, copy)?))
        };
        let encoded = |group: &Group<T>| {
            let diagonals = group.diagonals.par_iter().map(diagonal).collect::<Result<_>>()?;
            Ok(EncodedGroup { giant: group.giant, diagonals })
        };
        let groups = groups.iter().map(encoded).collect::<Result<_>>()?;
        Ok(Self { primes, babies, groups })
    }

    /// The level of the ciphertexts that the matrix is for.
    pub fn primes(&self) -> usize {
        self.primes
    }

    /// The rotations whose keys are needed.
    pub fn rotations(&self) -> BTreeSet<usize> {
        let giants = self.groups.iter().map(|group| group.giant);
        self.babies.iter().copied().chain(giants).filter(|&step| step != 0).collect()
    }

    /// Bytes of the encoded weights.
    pub fn bytes(&self) -> usize {
        let rows = |group: &EncodedGroup| group.diagonals.iter().map(|(_, rows)| rows.bytes()).sum::<usize>();
        self.groups.iter().map(rows).sum()
    }
}

impl Evaluator {
    /// The matrix times the slots of `x`, rescaled, plus the bias; on the rayon pool of the caller.
    ///
    /// # Errors
    /// [`Error::OperandMismatch`] for a ciphertext of another level or scale than the transform was encoded for,
    /// [`Error::MissingKey`], [`Error::ParametersMismatch`], [`Error::Interrupted`].
    pub fn linear_transform(
        &self,
        x: &Ciphertext,
        transform: &LinearTransform,
        keys: &PackedKeys,
        cancellation: &Cancellation,
    ) -> Result<Ciphertext> {
        const OPERATION: &str = "linear transform";
        self.check_packed(OPERATION, x)?;
        self.check_scales(OPERATION, x.scale(), transform.input_scale)?;
        let total = self.multiply_diagonals(OPERATION, x, &transform.diagonals, keys, cancellation)?;
        let division = self.pair_division(OPERATION, x.primes())?;
        let mut product = self.divide_by_pair(division, &total, transform.output_scale);
        if let Some(Plaintext::Ckks { data, .. }) = &transform.bias {
            self.add_rows(&mut product, data);
        }
        Ok(product)
    }

    /// Adds residues in NTT form, `[primes][N]`, to the first polynomial.
    pub(super) fn add_rows(&self, x: &mut Ciphertext, addend: &[u64]) {
        let degree = self.context.degree();
        let rows = x.poly_mut(0).par_chunks_exact_mut(degree).zip(addend.par_chunks_exact(degree));
        rows.zip(self.context.tables()).for_each(|((row, addend), table)| table.kernels().add_assign(row, addend));
    }

    /// The matrix times the slots of `x`, times the key-switching prime.
    pub(super) fn multiply_diagonals(
        &self,
        operation: &'static str,
        x: &Ciphertext,
        diagonals: &Diagonals,
        keys: &PackedKeys,
        cancellation: &Cancellation,
    ) -> Result<Extended> {
        if x.primes() != diagonals.primes {
            return Err(Error::OperandMismatch {
                operation,
                what: "levels",
                left: format!("ciphertext: {} primes", x.primes()),
                right: format!("matrix: {} primes", diagonals.primes),
                remedy: "encode the matrix for the ciphertext's level",
            });
        }
        let primes = x.primes();
        let key = |&step: &usize| match step {
            0 => Ok(None),
            _ => keys.rotation(operation, step, primes).map(Some),
        };
        let babies: Vec<Option<&RotationKey>> = diagonals.babies.iter().map(key).collect::<Result<_>>()?;
        let giants: Vec<Option<&RotationKey>> =
            diagonals.groups.iter().map(|g| key(&g.giant)).collect::<Result<_>>()?;

        let degree = self.context.degree();
        let digits = babies.iter().any(Option::is_some).then(|| Digits::new(self, x.poly(1)));
        let mut sums: Vec<Extended> = diagonals.groups.iter().map(|_| Extended::stale(primes, degree)).collect();
        // Prime by prime, so that the rotated inputs stay in the cache while all groups take their share of them.
        let mut rows: Vec<Vec<&mut [u64]>> = (0..=primes).map(|_| Vec::new()).collect();
        for sum in &mut sums {
            sum.data.chunks_exact_mut(2 * degree).zip(&mut rows).for_each(|(row, rows)| rows.push(row));
        }
        rows.into_par_iter().enumerate().try_for_each(|(i, sums)| {
            cancellation.check()?;
            let rotated = self.rotated(i, x, digits.as_ref(), &babies);
            let rotated: Vec<[&[u64]; 2]> = rotated.iter().map(|rows| rows.split_at(degree).into()).collect();
            let kernels = self.extended_table(i, primes).kernels();
            diagonals.groups.par_iter().zip(sums).for_each(|(group, sum)| {
                group.add_up(i, kernels, &rotated, pair(sum));
            });
            Ok(())
        })?;
        self.add_giants(sums, &giants, cancellation)
    }

    /// The baby rotations of `x` times P, modulo prime number `i`, each `[2][N]`.
    fn rotated(
        &self,
        i: usize,
        x: &Ciphertext,
        digits: Option<&Digits>,
        babies: &[Option<&RotationKey>],
    ) -> Vec<Residues> {
        let degree = self.context.degree();
        let digits = digits.map(|digits| digits.modulo(i, self.extended_table(i, x.primes())));
        let rotated = babies.par_iter().map_init(
            || Residues::stale(2 * degree),
            |scratch, key| match (key, &digits) {
                (Some(rotation), Some(digits)) => {
                    let [first, second] = pair(scratch);
                    self.inner_product(i, digits, &rotation.key, [&mut *first, &mut *second]);
                    self.add_lifted(i, first, x, 0);
                    let mut rows = Residues::stale(2 * degree);
                    let out = pair(&mut rows);
                    rotation.automorphism.apply_ntt(out[0], first);
                    rotation.automorphism.apply_ntt(out[1], second);
                    rows
                }
                _ => {
                    let mut rows = Residues::zeros(2 * degree);
                    for (part, row) in pair(&mut rows).into_iter().enumerate() {
                        self.add_lifted(i, row, x, part);
                    }
                    rows
                }
            },
        );
        rotated.collect()
    }

    /// The sum of all groups, each rotated by its giant.
    fn add_giants(
        &self,
        sums: Vec<Extended>,
        giants: &[Option<&RotationKey>],
        cancellation: &Cancellation,
    ) -> Result<Extended> {
        let rotated = sums.into_par_iter().zip(giants).map(|(sum, giant)| {
            cancellation.check()?;
            Ok(match giant {
                None => sum,
                Some(rotation) => self.rotate_extended(sum, rotation),
            })
        });
        let total = rotated.try_reduce_with(|mut total, rotated| {
            let primes = rotated.primes;
            total.par_rows().for_each(|(i, out)| {
                let kernels = self.extended_table(i, primes).kernels();
                out.into_iter().zip(rotated.rows(i)).for_each(|(out, row)| kernels.add_assign(out, row));
            });
            Ok(total)
        });
        total.unwrap_or_else(|| {
            Err(Error::InvalidArgument { name: "groups", reason: "a matrix needs at least one diagonal".into() })
        })
    }

    /// A rotation within the extended primes: only the second polynomial is divided by P, and in coefficient form.
    fn rotate_extended(&self, mut sum: Extended, rotation: &RotationKey) -> Extended {
        let degree = self.context.degree();
        let primes = sum.primes;
        sum.par_rows().for_each(|(i, [_, second])| self.extended_table(i, primes).inverse(second));
        let mut last = Residues::from_slice(sum.rows(primes)[1]);
        let mut coefficients = Residues::stale(primes * degree);
        if let Some(division) = &self.special {
            division.round(&mut last, Form::Coefficient);
            coefficients.par_chunks_exact_mut(degree).enumerate().for_each(|(j, out)| {
                division.divide(j, Form::Coefficient, out, sum.rows(j)[1], &last, None);
            });
        }
        let digits = Digits::of_coefficients(self, coefficients);
        let mut rotated = Extended::stale(primes, degree);
        rotated.par_rows().for_each(|(i, out)| {
            let table = self.extended_table(i, primes);
            let digits = digits.modulo(i, table);
            let mut scratch = Residues::stale(2 * degree);
            let [first, second] = pair(&mut scratch);
            self.inner_product(i, &digits, &rotation.key, [&mut *first, &mut *second]);
            table.kernels().add_assign(first, sum.rows(i)[0]);
            rotation.automorphism.apply_ntt(out[0], first);
            rotation.automorphism.apply_ntt(out[1], second);
        });
        rotated
    }
}
