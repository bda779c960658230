//! The Chinese remainder theorem on big integers.

use num_bigint::{BigInt, BigUint, Sign};
use num_traits::{ToPrimitive, Zero};

use crate::error::{Error, Result};
use crate::ring::modulus::Modulus;

/// Pairwise coprime moduli q_i with their product Q: residues stand for the integers modulo Q.
#[derive(Debug, Clone)]
pub struct RnsBasis {
    moduli: Vec<Modulus>,
    product: BigUint,
    half: BigUint,
    /// Q / q_i and its inverse modulo q_i
    punctured: Vec<(BigUint, u64)>,
}

/// A big integer modulo a word.
pub(super) fn residue(x: &BigUint, modulus: Modulus) -> u64 {
    (x % modulus.value()).to_u64().unwrap_or_default()
}

impl RnsBasis {
    /// The largest number of moduli.
    pub const MAX_MODULI: usize = 128;

    /// A basis of 1 to [`MAX_MODULI`](RnsBasis::MAX_MODULI) moduli.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for another number of moduli, [`Error::InvalidModulus`] where two are
    /// not coprime.
    pub fn new(moduli: &[Modulus]) -> Result<Self> {
        if !(1..=Self::MAX_MODULI).contains(&moduli.len()) {
            let reason = format!("{} given; a basis has 1 to {}", moduli.len(), Self::MAX_MODULI);
            return Err(Error::InvalidArgument { name: "moduli", reason });
        }
        let product = moduli.iter().fold(BigUint::from(1u32), |product, q| product * q.value());
        let punctured = moduli
            .iter()
            .map(|&q| {
                let rest = &product / q.value();
                let inverse = q.inv(residue(&rest, q)).ok_or_else(|| Error::InvalidModulus {
                    value: q.value(),
                    reason: "it shares a factor with another modulus of the basis".into(),
                })?;
                Ok((rest, inverse))
            })
            .collect::<Result<_>>()?;
        let half = &product >> 1u32;
        Ok(Self { moduli: moduli.to_vec(), product, half, punctured })
    }

    /// The moduli q_i.
    pub fn moduli(&self) -> &[Modulus] {
        &self.moduli
    }

    /// Their product Q.
    pub fn product(&self) -> &BigUint {
        &self.product
    }

    /// Q / q_i.
    pub fn punctured_product(&self, i: usize) -> &BigUint {
        &self.punctured[i].0
    }

    /// (Q / q_i)^-1 mod q_i.
    pub fn punctured_inverse(&self, i: usize) -> u64 {
        self.punctured[i].1
    }

    /// The integer in `[0, Q)` with the given residues, one for each modulus.
    ///
    /// # Panics
    /// Where there are more or fewer residues than moduli.
    pub fn compose(&self, residues: &[u64]) -> BigUint {
        assert_eq!(residues.len(), self.moduli.len(), "one residue for each modulus");
        let terms = self.moduli.iter().zip(&self.punctured).zip(residues);
        terms.fold(BigUint::zero(), |sum, ((q, (rest, inverse)), &x)| sum + rest * q.mul(q.reduce(x), *inverse))
            % &self.product
    }

    /// The integer in `(-Q/2, Q/2]` with the given residues.
    ///
    /// # Panics
    /// As [`compose`](RnsBasis::compose).
    pub fn compose_centered(&self, residues: &[u64]) -> BigInt {
        self.center(self.compose(residues))
    }

    /// The representative in `(-Q/2, Q/2]` of an integer in `[0, Q)`.
    pub fn center(&self, x: BigUint) -> BigInt {
        if x > self.half { BigInt::from(x) - BigInt::from(self.product.clone()) } else { BigInt::from(x) }
    }

    /// The residues of any integer.
    pub fn decompose(&self, x: &BigInt) -> Vec<u64> {
        self.moduli
            .iter()
            .map(|&q| {
                let r = residue(x.magnitude(), q);
                if x.sign() == Sign::Minus { q.neg(r) } else { r }
            })
            .collect()
    }
}
