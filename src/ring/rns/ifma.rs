//! Base conversion with AVX-512 IFMA, for moduli of 12 to 50 bits: eight coefficients at a time.

use std::arch::x86_64::*;

use super::basis::RnsBasis;
use super::converter::{BaseConverter, FRACTION_BITS};
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
    pub(super) fn convert(&self, converter: &BaseConverter, output: &mut [u64], input: &[u64]) -> usize {
        let terms = self.from.len();
        let degree = input.len() / terms;
        let whole = degree / 8 * 8;
        let sources: Vec<_> = self
            .from
            .iter()
            .zip(&converter.from)
            .map(|(q, source)| (q, source, companion(source.inverse.0, q.value())))
            .collect();
        let mut digits = [_mm512_setzero_si512(); RnsBasis::MAX_MODULI];
        for at in (0..whole).step_by(8) {
            let mut multiple = _mm512_setzero_pd();
            let mut fraction = Accumulator::new(broadcast(1 << (FRACTION_BITS - 1)));
            for (j, (digit, &(q, source, companion))) in digits.iter_mut().zip(&sources).enumerate() {
                let x = load(lanes(input, j * degree + at));
                *digit = Arithmetic::new(q).mul_constant(x, (broadcast(source.inverse.0), broadcast(companion)));
                // Two roundings, as in the portable version: no fused multiply-add here.
                let part = _mm512_mul_pd(_mm512_cvtepu64_pd(*digit), _mm512_set1_pd(source.reciprocal));
                multiple = _mm512_add_pd(multiple, part);
                if converter.rounds {
                    fraction.add_product(*digit, broadcast(source.fraction));
                }
            }
            let (multiple, fraction) = (_mm512_cvtpd_epu64(multiple), fraction.high_word());
            let targets = self.to.iter().zip(&converter.to).zip(converter.weights.chunks_exact(terms));
            for (j, ((p, target), weights)) in targets.enumerate() {
                let (m, group) = (Arithmetic::new(p), p.lazy_products());
                let mut sum = Accumulator::new(fraction);
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
