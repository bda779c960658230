//! Decryption, and the noise budget.

use std::sync::Arc;

use num_bigint::BigUint;
use rayon::prelude::*;
use zeroize::Zeroizing;

use super::operand::Operand;
use crate::error::{Error, Result};
use crate::ring::{Crt, Modulus, Residues};
use crate::runtime::Cancellation;
use crate::scheme::{Ciphertext, Context, Form, Plaintext, Scheme, SecretKey};

/// Decrypts ciphertexts of any size and level, in either form.
pub struct Decryptor {
    context: Arc<Context>,
    secret: Operand,
    /// by number of primes less one; empty for CKKS
    levels: Vec<RoundingLevel>,
}

impl Decryptor {
    /// Prepares a secret key.
    ///
    /// # Errors
    /// [`Error::ParametersMismatch`] where the key belongs to other parameters.
    pub fn new(context: Arc<Context>, key: &SecretKey) -> Result<Self> {
        let secret = Operand::secret(&context, key)?;
        let levels = (1..=context.key_primes()).map_while(|primes| RoundingLevel::new(&context, primes)).collect();
        Ok(Self { context, secret, levels })
    }

    /// Decrypts.
    ///
    /// A BFV message is checked on the way: the noise of every coefficient is seen, and a budget of
    /// zero bits is an error, so a wrong key or too deep a computation gives no silent wrong answer. A CKKS
    /// result carries no such mark; see [`CkksEncoder::decode`](crate::encoding::CkksEncoder::decode) for
    /// what can be detected.
    ///
    /// # Errors
    /// [`Error::ParametersMismatch`] for a ciphertext of other parameters,
    /// [`Error::NoiseBudgetExhausted`] for a BFV ciphertext whose noise budget is 0 as SEAL counts it.
    pub fn decrypt(&self, ciphertext: &Ciphertext) -> Result<Plaintext> {
        let mut phase = self.phase(ciphertext, "decrypt")?;
        match self.context.parameters().scheme() {
            Scheme::Ckks => {
                let data = Residues::from_slice(&phase);
                Ok(Plaintext::Ckks { primes: ciphertext.primes(), scale: ciphertext.scale(), data })
            }
            Scheme::Bfv => {
                let level = &self.levels[ciphertext.primes() - 1];
                let (message, closest) = level.round(&phase, self.context.degree());
                if closest >= level.suspicious && level.budget(&mut phase) == 0 {
                    return Err(Error::NoiseBudgetExhausted(0));
                }
                Ok(Plaintext::Bfv(message))
            }
        }
    }

    /// Decrypts many ciphertexts, on the current rayon pool. See [`decrypt`](Self::decrypt).
    ///
    /// # Errors
    /// As [`decrypt`](Self::decrypt), and [`Error::Interrupted`].
    pub fn decrypt_all(&self, ciphertexts: &[Ciphertext], cancellation: &Cancellation) -> Result<Vec<Plaintext>> {
        ciphertexts
            .par_iter()
            .map(|ciphertext| {
                cancellation.check()?;
                self.decrypt(ciphertext)
            })
            .collect()
    }

    /// The invariant noise budget of a BFV ciphertext in bits, as SEAL's `invariant_noise_budget`
    /// defines it: bits(q) - bits(max |t c(s) mod q|) - 1, at least 0.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for CKKS, [`Error::ParametersMismatch`] for a ciphertext of other parameters.
    pub fn noise_budget(&self, ciphertext: &Ciphertext) -> Result<u32> {
        if self.context.parameters().scheme() == Scheme::Ckks {
            return Err(Error::Unsupported {
                operation: "noise_budget",
                reason: "CKKS ciphertexts have none; compare the decrypted numbers with the expected ones".into(),
            });
        }
        let mut phase = self.phase(ciphertext, "noise_budget")?;
        Ok(self.levels[ciphertext.primes() - 1].budget(&mut phase))
    }

    /// What is left of t c(s) / q beside integers, one number in [-1/2, 1/2] a coefficient: t times the noise, for tests.
    #[cfg(test)]
    pub(crate) fn noise(&self, ciphertext: &Ciphertext) -> Vec<f64> {
        let mut phase = self.phase(ciphertext, "noise").unwrap();
        let level = &self.levels[ciphertext.primes() - 1];
        level.multiply_by_t(&mut phase);
        let degree = self.context.degree();
        let q = 2f64.powi(level.bits as i32);
        let mut magnitude = vec![0; level.crt.limbs()];
        (0..degree)
            .map(|i| {
                let negative = level.crt.compose_centered(|j| phase[j * degree + i], &mut magnitude);
                let value = magnitude.iter().rev().fold(0.0, |x, &limb| x * 2f64.powi(64) + limb as f64) / q;
                if negative { -value } else { value }
            })
            .collect()
    }

    /// c0 + c1 s + c2 s^2 + ... by Horner's rule: coefficients for BFV, NTT form for CKKS.
    fn phase(&self, ciphertext: &Ciphertext, operation: &'static str) -> Result<Zeroizing<Vec<u64>>> {
        let context = &self.context;
        let primes = ciphertext.primes();
        if ciphertext.degree() != context.degree() || context.primes_of(&ciphertext.parms_id()) != Some(primes) {
            return Err(Error::ParametersMismatch { operation, object: "ciphertext" });
        }
        let target = match context.parameters().scheme() {
            Scheme::Bfv => Form::Coefficient,
            Scheme::Ckks => Form::Ntt,
        };
        let mut phase = Zeroizing::new(vec![0; primes * context.degree()]);
        for (j, row) in phase.chunks_exact_mut(context.degree()).enumerate() {
            let table = &context.tables()[j];
            let mut addend = vec![0; context.degree()];
            for i in (1..ciphertext.size()).rev() {
                addend.copy_from_slice(ciphertext.residues(i, j));
                if ciphertext.form() == Form::Coefficient {
                    table.forward(&mut addend);
                }
                table.kernels().add_assign(row, &addend);
                self.secret.multiply(context, j, row);
            }
            if ciphertext.form() == Form::Coefficient {
                table.inverse(row);
            }
            table.kernels().add_assign(row, ciphertext.residues(0, j));
            match (ciphertext.form(), target) {
                (Form::Coefficient, Form::Ntt) => table.forward(row),
                (Form::Ntt, Form::Coefficient) => table.inverse(row),
                _ => {}
            }
        }
        Ok(phase)
    }
}

/// The constants of x -> round(t x / q) at one level.
///
/// With y_j = x_j (q/q_j)^-1 mod q_j the quotient t x / q is the sum of t y_j / q_j, up to a multiple
/// of t. The sum is taken in fixed point with 64 fractional bits.
struct RoundingLevel {
    t: Modulus,
    crt: Crt,
    factors: Vec<Factor>,
    bits: u32,
    /// the distance from an integer, in 2^-64, from which on the noise budget may be zero
    suspicious: u64,
}

/// t / q_j as an integer and 128 fractional bits.
struct Factor {
    q: Modulus,
    integer: u64,
    fraction: u128,
}

impl RoundingLevel {
    /// `None` where the context is not BFV's.
    fn new(context: &Context, primes: usize) -> Option<Self> {
        let t = Modulus::new(context.parameters().plain_modulus()).ok()?;
        let moduli: Vec<Modulus> = (0..primes).map(|j| context.modulus(j)).collect();
        let factors = moduli
            .iter()
            .map(|&q| {
                let rest = u128::from(t.value() % q.value());
                let high = (rest << 64) / u128::from(q.value());
                let low = (((rest << 64) % u128::from(q.value())) << 64) / u128::from(q.value());
                Factor { q, integer: t.value() / q.value(), fraction: (high << 64) | low }
            })
            .collect();
        let q: BigUint = moduli.iter().map(|q| q.value()).product();
        let bits = q.bits() as u32;
        // SEAL's budget is 0 from a noise of 2^(bits - 2) on: a quarter to a half of q. The margin covers
        // what fixed point rounds away, at most two units for each prime.
        let quarter: BigUint = ((BigUint::from(1u32) << (bits + 62)) + &q - 1u32) / &q;
        let suspicious = u64::try_from(quarter).unwrap_or(u64::MAX).saturating_sub(4 * primes as u64);
        Some(Self { t, crt: Crt::new(&moduli), factors, bits, suspicious })
    }

    /// The message, and the largest distance of a quotient from an integer, in units of 2^-64.
    fn round(&self, phase: &[u64], degree: usize) -> (Vec<u64>, u64) {
        let mut farthest = 0;
        let message = (0..degree)
            .map(|i| {
                let (mut integer, mut fraction) = (0u128, 0u64);
                for (j, factor) in self.factors.iter().enumerate() {
                    let (inverse, companion) = self.crt.inverse(j);
                    let y = u128::from(factor.q.mul_shoup(phase[j * degree + i], inverse, companion));
                    let low = (y * (factor.fraction & u128::from(u64::MAX))) >> 64;
                    let product = y * (factor.fraction >> 64) + low;
                    let (sum, carry) = fraction.overflowing_add(product as u64);
                    fraction = sum;
                    integer += y * u128::from(factor.integer) + (product >> 64) + u128::from(carry);
                }
                farthest = farthest.max((fraction as i64).unsigned_abs());
                self.t.reduce_wide(integer + u128::from(fraction >> 63))
            })
            .collect();
        (message, farthest)
    }

    /// t times the phase, in place.
    fn multiply_by_t(&self, phase: &mut [u64]) {
        let degree = phase.len() / self.factors.len();
        for (row, factor) in phase.chunks_exact_mut(degree).zip(&self.factors) {
            let t = factor.q.reduce(self.t.value());
            let companion = factor.q.shoup(t);
            row.iter_mut().for_each(|x| *x = factor.q.mul_shoup(*x, t, companion));
        }
    }

    /// The exact noise budget; the phase is overwritten.
    fn budget(&self, phase: &mut [u64]) -> u32 {
        let degree = phase.len() / self.factors.len();
        self.multiply_by_t(phase);
        let mut magnitude = vec![0; self.crt.limbs()];
        // The bits of the largest number are those of the bitwise or.
        let mut all = vec![0; self.crt.limbs()];
        for i in 0..degree {
            self.crt.compose_centered(|j| phase[j * degree + i], &mut magnitude);
            all.iter_mut().zip(&magnitude).for_each(|(all, &limb)| *all |= limb);
        }
        let noise =
            all.iter().rposition(|&limb| limb != 0).map_or(0, |top| 64 * (top as u32 + 1) - all[top].leading_zeros());
        self.bits.saturating_sub(noise + 1)
    }
}
