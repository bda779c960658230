//! Base conversion with AVX-512 IFMA, for moduli of 12 to 50 bits: eight coefficients at a time.

use std::arch::x86_64::*;

use super::basis::RnsBasis;
use super::converter::BaseConverter;
use crate::ring::backend::ifma::{Accumulator, Arithmetic, Lanes, Modulus52, broadcast, companion, load, store};

/// The moduli of both bases.
#[derive(Debug, Clone)]
pub(super) struct Constants {
    from: Vec<Modulus52>,
    to: Vec<Modulus52>,
}

/// Eight residues out of a polynomial.
fn lanes(x: &[u64], at: usize) -> &Lanes {
    &x[at..at + 8].as_chunks().0[0]
}

impl Constants {
    pub(super) fn new(from: Vec<Modulus52>, to: Vec<Modulus52>) -> Self {
        Self { from, to }
    }

    /// Converts whole vectors and tells how many coefficients that were.
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn convert(&self, converter: &BaseConverter, input: &[u64], output: &mut [u64]) -> usize {
        let terms = self.from.len();
        let degree = input.len() / terms;
        let whole = degree / 8 * 8;
        let sources: Vec<_> = self
            .from
            .iter()
            .zip(&converter.from)
            .map(|(q, source)| (q, source.factor.0, companion(source.factor.0, q.value()), source.reciprocal))
            .collect();
        let mut digits = [_mm512_setzero_si512(); RnsBasis::MAX_MODULI];
        for at in (0..whole).step_by(8) {
            let mut quotient = _mm512_setzero_pd();
            for (j, (digit, &(q, factor, companion, reciprocal))) in digits.iter_mut().zip(&sources).enumerate() {
                let x = load(lanes(input, j * degree + at));
                *digit = Arithmetic::new(q).mul_constant(x, (broadcast(factor), broadcast(companion)));
                // Two roundings, as in the portable version: no fused multiply-add here.
                let part = _mm512_mul_pd(_mm512_cvtepu64_pd(*digit), _mm512_set1_pd(reciprocal));
                quotient = _mm512_add_pd(quotient, part);
            }
            let multiple = _mm512_cvtpd_epu64(quotient);
            let targets = self.to.iter().zip(&converter.to).zip(converter.weights.chunks_exact(terms));
            for (j, ((p, target), weights)) in targets.enumerate() {
                let (m, group) = (Arithmetic::new(p), p.lazy_products());
                let mut sum = Accumulator::new(_mm512_setzero_si512());
                sum.add_product(multiple, broadcast(target.minus_product));
                let mut room = group - 1;
                for (&digit, &weight) in digits.iter().zip(weights) {
                    if room == 0 {
                        (sum, room) = (Accumulator::new(sum.reduce(&m)), group);
                    }
                    sum.add_product(digit, broadcast(weight));
                    room -= 1;
                }
                let out = j * degree + at;
                let (block, _) = output[out..out + 8].as_chunks_mut();
                store(&mut block[0], sum.reduce(&m));
            }
        }
        whole
    }
}
