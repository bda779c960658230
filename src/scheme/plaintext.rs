//! Plaintexts: what an encoder makes and an encryptor takes.

use super::context::Context;
use crate::ring::Residues;

/// An encoded message.
#[derive(Debug, Clone, PartialEq)]
pub enum Plaintext {
    /// BFV: up to N coefficients in `[0, t)`; missing ones are zero.
    Bfv(Vec<u64>),
    /// CKKS: residues `[primes][N]` in NTT form, and the scale.
    Ckks {
        /// the number of primes
        primes: usize,
        /// the factor between numbers and coefficients
        scale: f64,
        /// residues in `[0, q_j)`
        data: Residues,
    },
}

impl Plaintext {
    /// Whether the plaintext's sizes and residues fit a context.
    pub fn is_valid_for(&self, context: &Context) -> bool {
        match self {
            Plaintext::Bfv(coefficients) => {
                let t = context.parameters().plain_modulus();
                t != 0 && coefficients.len() <= context.degree() && coefficients.iter().all(|&c| c < t)
            }
            Plaintext::Ckks { primes, data, .. } => {
                context.parameters().plain_modulus() == 0
                    && (1..=context.key_primes()).contains(primes)
                    && data.len() == primes * context.degree()
                    && data
                        .chunks_exact(context.degree())
                        .enumerate()
                        .all(|(j, x)| x.iter().all(|&r| r < context.modulus(j).value()))
            }
        }
    }
}
