//! CKKS: vectors of N/2 real or complex numbers as polynomials with rounded coefficients.

use std::sync::Arc;

use num_complex::Complex64;

use super::fft::{Complexes, Fft};
use crate::error::{Error, Result};
use crate::ring::{Crt, Modulus, NttTable, Residues};
use crate::scheme::{Context, Plaintext, Scheme};

/// Encodes up to N/2 numbers, one a slot, in SEAL's order, with the same coefficients as SEAL's
/// `CKKSEncoder`.
#[derive(Debug)]
pub struct CkksEncoder {
    context: Arc<Context>,
    fft: Fft,
    positions: Vec<usize>,
    /// by number of primes less one
    levels: Vec<Level>,
}

/// What encoding and decoding need of the modulus at one level.
#[derive(Debug)]
struct Level {
    crt: Crt,
    bits: u32,
}

impl CkksEncoder {
    /// Computes the tables for a context.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for BFV.
    pub fn new(context: Arc<Context>) -> Result<Self> {
        if context.parameters().scheme() != Scheme::Ckks {
            let reason = "these are BFV parameters; use the batch, integer or fractional encoder".into();
            return Err(Error::Unsupported { operation: "CKKS encoding", reason });
        }
        let moduli: Vec<Modulus> = context.tables().iter().map(|table| table.modulus()).collect();
        let levels = (1..=moduli.len())
            .map(|primes| {
                let crt = Crt::new(&moduli[..primes]);
                Level { bits: bits(crt.product()), crt }
            })
            .collect();
        let degree = context.degree();
        Ok(Self { context, fft: Fft::new(degree), positions: super::slot_positions(degree), levels })
    }

    /// The number of slots, N/2.
    pub fn slots(&self) -> usize {
        self.context.degree() / 2
    }

    /// Encodes at most N/2 real numbers for the level with `primes` primes; missing ones are zero.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for too many values, [`Error::Unencodable`] for NaN, infinities and values
    /// that the modulus has no room for at this scale, [`Error::ScaleOutOfRange`] for a scale that is not
    /// positive or has as many bits as the modulus, [`Error::InvalidArgument`] for a level that does not exist.
    pub fn encode(&self, values: &[f64], scale: f64, primes: usize) -> Result<Plaintext> {
        self.encode_with(values.len(), |i| (values[i], 0.0), scale, primes)
    }

    /// Encodes at most N/2 complex numbers. See [`encode`](Self::encode).
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_complex(&self, values: &[Complex64], scale: f64, primes: usize) -> Result<Plaintext> {
        self.encode_with(values.len(), |i| (values[i].re, values[i].im), scale, primes)
    }

    /// Encodes one real number in all slots: a constant polynomial, so neither transform is needed.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_constant(&self, value: f64, scale: f64, primes: usize) -> Result<Plaintext> {
        let level = self.level(primes)?;
        check_scale(scale, level.bits, "encode")?;
        if !value.is_finite() {
            return Err(not_finite(value, 0));
        }
        let coefficient = value * scale;
        if coefficient_bits(coefficient.abs()) >= f64::from(level.bits) {
            return Err(too_large(value, 0, scale, level.bits));
        }
        let mut data = Residues::zeros(primes * self.context.degree());
        for (j, row) in data.chunks_exact_mut(self.context.degree()).enumerate() {
            row.fill(Rounding::new(self.context.modulus(j), coefficient.abs()).residue(coefficient));
        }
        Ok(Plaintext::Ckks { primes, scale, data })
    }

    /// Decodes the real parts of all N/2 slots.
    ///
    /// A computation that has outgrown the modulus wraps around it, and its coefficients then lie anywhere:
    /// a coefficient in the outer half of the range (at least a quarter of the modulus from zero) is taken for
    /// that. One wrapped coefficient goes unseen half of the time, many are as good as certain to be seen; when all
    /// slots hold the same number there is only one. A scale that does not match the computation cannot be seen.
    ///
    /// # Errors
    /// [`Error::ScaleOutOfRange`] for a result that has outgrown the modulus and for an unusable scale,
    /// [`Error::ParametersMismatch`] for a plaintext of other parameters.
    pub fn decode(&self, plaintext: &Plaintext) -> Result<Vec<f64>> {
        let values = self.values(plaintext)?;
        Ok(self.positions[..self.slots()].iter().map(|&at| values.re[at]).collect())
    }

    /// Decodes all N/2 slots as complex numbers. See [`decode`](Self::decode).
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn decode_complex(&self, plaintext: &Plaintext) -> Result<Vec<Complex64>> {
        let values = self.values(plaintext)?;
        Ok(self.positions[..self.slots()].iter().map(|&at| Complex64::new(values.re[at], values.im[at])).collect())
    }

    fn level(&self, primes: usize) -> Result<&Level> {
        primes.checked_sub(1).and_then(|at| self.levels.get(at)).ok_or_else(|| Error::InvalidArgument {
            name: "primes",
            reason: format!("{primes}; choose 1 to {}", self.levels.len()),
        })
    }

    fn encode_with(
        &self,
        len: usize,
        value: impl Fn(usize) -> (f64, f64),
        scale: f64,
        primes: usize,
    ) -> Result<Plaintext> {
        let x = self.coefficients(len, value, scale, primes)?;
        let tables = &self.context.tables()[..primes];
        Ok(Plaintext::Ckks { primes, scale, data: self.residues(&x, tables) })
    }

    /// Encodes at most N/2 real numbers for products with digits of key switching: residues modulo the first `primes`
    /// primes and the key-switching prime, in NTT form, `[primes + 1][N]`.
    ///
    /// # Errors
    /// As [`encode`](Self::encode); [`Error::Unsupported`] without a key-switching prime.
    pub fn encode_extended(&self, values: &[f64], scale: f64, primes: usize) -> Result<Residues> {
        let special = match self.context.tables() {
            [.., special] if self.context.parameters().key_switching() => special,
            _ => {
                let reason = "the parameters set no prime aside for key switching; make them with one".into();
                return Err(Error::Unsupported { operation: "encode", reason });
            }
        };
        let x = self.coefficients(values.len(), |i| (values[i], 0.0), scale, primes)?;
        let tables: Vec<Arc<NttTable>> = self.context.tables()[..primes].iter().chain([special]).cloned().collect();
        Ok(self.residues(&x, &tables))
    }

    /// The context that numbers are encoded for.
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// The real coefficients of the polynomial that has these values, times the scale.
    fn coefficients(
        &self,
        len: usize,
        value: impl Fn(usize) -> (f64, f64),
        scale: f64,
        primes: usize,
    ) -> Result<Vec<f64>> {
        let level = self.level(primes)?;
        let (degree, slots) = (self.context.degree(), self.slots());
        super::check_slots(len, slots)?;
        check_scale(scale, level.bits, "encode")?;
        let mut x = Complexes::zeros(degree);
        for i in 0..len {
            let (re, im) = value(i);
            if !(re.is_finite() && im.is_finite()) {
                return Err(not_finite(if re.is_finite() { im } else { re }, i));
            }
            let (at, conjugate) = (self.positions[i], self.positions[slots + i]);
            (x.re[at], x.im[at]) = (re, im);
            (x.re[conjugate], x.im[conjugate]) = (re, -im);
        }
        self.fft.inverse(&mut x, scale / degree as f64);
        let largest = x.re.iter().fold(0.0, |most: f64, c| most.max(c.abs()));
        // An overflow to infinity or NaN has infinitely many bits too.
        if x.re.iter().any(|c| c.is_nan()) || coefficient_bits(largest) >= f64::from(level.bits) {
            let size = |i: usize| value(i).0.hypot(value(i).1);
            let worst = (0..len).max_by(|&a, &b| size(a).total_cmp(&size(b))).unwrap_or(0);
            return Err(too_large(value(worst).0, worst, scale, level.bits));
        }
        Ok(x.re)
    }

    /// Coefficients rounded to residues modulo each prime, in NTT form.
    fn residues(&self, coefficients: &[f64], tables: &[Arc<NttTable>]) -> Residues {
        let degree = self.context.degree();
        let largest = coefficients.iter().fold(0.0, |most: f64, c| most.max(c.abs()));
        let mut data = Residues::stale(tables.len() * degree);
        for (row, table) in data.chunks_exact_mut(degree).zip(tables) {
            let rounding = Rounding::new(table.modulus(), largest);
            row.iter_mut().zip(coefficients).for_each(|(r, &c)| *r = rounding.residue(c));
            table.forward(row);
        }
        data
    }

    /// The polynomial divided by the scale, at all odd powers of the root.
    fn values(&self, plaintext: &Plaintext) -> Result<Complexes> {
        let (primes, scale, data) = match plaintext {
            Plaintext::Ckks { primes, scale, data } if plaintext.is_valid_for(&self.context) => (*primes, *scale, data),
            _ => return Err(Error::ParametersMismatch { operation: "decode", object: "plaintext" }),
        };
        let level = self.level(primes)?;
        check_scale(scale, level.bits, "decode")?;
        let degree = self.context.degree();
        let mut coefficients = data.clone();
        for (row, table) in coefficients.chunks_exact_mut(degree).zip(self.context.tables()) {
            table.inverse(row);
        }
        let mut x = Complexes::zeros(degree);
        level.center(&coefficients, &self.context, 1.0 / scale, &mut x.re)?;
        self.fft.forward(&mut x);
        Ok(x)
    }
}

impl Level {
    /// Writes the centred coefficients times `factor` to `out`.
    fn center(&self, residues: &[u64], context: &Context, factor: f64, out: &mut [f64]) -> Result<()> {
        let degree = out.len();
        let row = |j: usize| &residues[j * degree..(j + 1) * degree];
        let quarter = 2f64.powi(self.bits as i32 - 2);
        let mut largest = 0.0f64;
        let mut store = |out: &mut f64, coefficient: f64| {
            largest = largest.max(coefficient.abs());
            *out = coefficient * factor;
        };
        match residues.len() / degree {
            1 => {
                let q = context.modulus(0);
                out.iter_mut().zip(row(0)).for_each(|(out, &r)| store(out, q.center(r) as f64));
            }
            2 => {
                // Garner: x = x0 + q0 ((x1 - x0) / q0 mod q1), below 2^122
                let (q0, q1) = (context.modulus(0), context.modulus(1));
                let inverse = q1.inv(q1.reduce(q0.value())).unwrap_or_default();
                let companion = q1.shoup(inverse);
                let q = i128::from(q0.value()) * i128::from(q1.value());
                for (out, (&x0, &x1)) in out.iter_mut().zip(row(0).iter().zip(row(1))) {
                    let digit = q1.mul_shoup(q1.sub(x1, q1.reduce(x0)), inverse, companion);
                    let x = i128::from(x0) + i128::from(q0.value()) * i128::from(digit);
                    store(out, (if x > q / 2 { x - q } else { x }) as f64);
                }
            }
            _ => {
                let mut magnitude = vec![0; self.crt.limbs()];
                for (i, out) in out.iter_mut().enumerate() {
                    let negative = self.crt.compose_centered(|j| residues[j * degree + i], &mut magnitude);
                    let coefficient = magnitude.iter().rev().fold(0.0, |x, &limb| x * 2f64.powi(64) + limb as f64);
                    store(out, if negative { -coefficient } else { coefficient });
                }
            }
        }
        if largest >= quarter {
            return Err(Error::ScaleOutOfRange {
                operation: "decode",
                reason: format!(
                    "the result has outgrown its modulus of {} bits (or the key is wrong); keep the scale and the \
                     numbers smaller, or more primes",
                    self.bits
                ),
            });
        }
        Ok(())
    }
}

/// Rounding of real coefficients, up to a bound, to residues.
struct Rounding {
    q: Modulus,
    /// 2^k mod q, where coefficients may exceed 2^63
    powers: Vec<u64>,
}

impl Rounding {
    fn new(q: Modulus, largest: f64) -> Self {
        let count = if largest < 2f64.powi(62) { 0 } else { largest.log2() as usize + 2 };
        let powers = std::iter::successors(Some(1), |&power| Some(q.add(power, power))).take(count).collect();
        Self { q, powers }
    }

    /// The coefficient rounded to nearest, halves away from zero, modulo q.
    #[inline(always)]
    fn residue(&self, coefficient: f64) -> u64 {
        let magnitude = coefficient.abs();
        let residue = if self.powers.is_empty() {
            // Below 2^62 the conversion is exact but for the fraction, and so is the fraction.
            let whole = magnitude as i64;
            self.q.reduce((whole + i64::from(magnitude - whole as f64 >= 0.5)) as u64)
        } else {
            let rounded = magnitude.round();
            // A double is its mantissa times a power of two; beyond 2^53 that is an integer already.
            let exponent = ((rounded.to_bits() >> 52) as usize).saturating_sub(1023 + 52);
            let mantissa = rounded / 2f64.powi(exponent as i32);
            self.q.mul(self.q.reduce(mantissa as u64), self.powers[exponent])
        };
        if coefficient < 0.0 { self.q.neg(residue) } else { residue }
    }
}

/// The bits of a limbed integer.
fn bits(limbs: &[u64]) -> u32 {
    limbs.iter().rposition(|&limb| limb != 0).map_or(0, |top| 64 * (top as u32 + 1) - limbs[top].leading_zeros())
}

/// SEAL's count of the bits of the largest coefficient, with its sign.
fn coefficient_bits(largest: f64) -> f64 {
    largest.max(1.0).log2().ceil() + 1.0
}

fn check_scale(scale: f64, bits: u32, operation: &'static str) -> Result<()> {
    // As SEAL: positive, and at least one bit smaller than the modulus.
    if scale.is_finite() && scale > 0.0 && scale.log2().trunc() + 1.0 < f64::from(bits) {
        return Ok(());
    }
    let reason =
        format!("the scale {scale:e} does not fit a modulus of {bits} bits; rescale, or choose a smaller scale");
    Err(Error::ScaleOutOfRange { operation, reason })
}

fn not_finite(value: f64, index: usize) -> Error {
    Error::Unencodable { value, index, reason: "only finite numbers can be; clean the data first".into() }
}

fn too_large(value: f64, index: usize, scale: f64, bits: u32) -> Error {
    let reason =
        format!("at scale {scale:e} it does not fit a modulus of {bits} bits; choose a smaller scale or more primes");
    Error::Unencodable { value, index, reason }
}

#[cfg(test)]
mod tests;
