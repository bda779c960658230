//! BFV's map from messages to the coefficient modulus: m to round(q m / t).

use num_bigint::BigUint;
use num_traits::ToPrimitive;
use zeroize::Zeroizing;

use crate::ring::Modulus;
use crate::scheme::Context;

/// The constants of m -> round(q m / t) at one level, a tie rounded up, as SEAL's
/// `multiply_add_plain_with_scaling_variant` computes it: floor(q / t) m + floor(((q mod t) m + (t + 1) / 2) / t).
#[derive(Debug, Clone)]
pub struct PlainScaling {
    t: Modulus,
    /// q mod t with its Shoup companion
    q_mod_t: (u64, u64),
    /// for each prime: the prime, floor(q / t) modulo it, and its Shoup companion
    delta: Vec<(Modulus, u64, u64)>,
}

impl PlainScaling {
    /// The constants for the first `primes` primes; `None` where the context is not BFV's.
    pub fn new(context: &Context, primes: usize) -> Option<Self> {
        let t = Modulus::new(context.parameters().plain_modulus()).ok()?;
        let q: BigUint = context.parameters().moduli()[..primes].iter().product();
        let small = |x: BigUint| x.to_u64().unwrap_or_default();
        let q_mod_t = small(&q % t.value());
        let quotient = q / t.value();
        let delta = (0..primes)
            .map(|j| {
                let q_j = context.modulus(j);
                let delta = small(&quotient % q_j.value());
                (q_j, delta, q_j.shoup(delta))
            })
            .collect();
        Some(Self { t, q_mod_t: (q_mod_t, t.shoup(q_mod_t)), delta })
    }

    /// Adds round(q m / t) to a polynomial in coefficient form, `[primes][N]`, for every coefficient m
    /// in `[0, t)` of a message of at most N coefficients. No branch depends on the message.
    pub fn add(&self, message: &[u64], polynomial: &mut [u64]) {
        let degree = polynomial.len() / self.delta.len();
        let remainders: Zeroizing<Vec<u64>> = Zeroizing::new(message.iter().map(|&m| self.remainder(m)).collect());
        for (&(q, delta, companion), row) in self.delta.iter().zip(polynomial.chunks_exact_mut(degree)) {
            // A remainder is at most t.
            let reduce = |r: u64| if self.t.value() < q.value() { r } else { q.reduce(r) };
            for (c, (&m, &r)) in row.iter_mut().zip(message.iter().zip(remainders.iter())) {
                let scaled = q.mul_shoup(m, delta, companion);
                *c = q.add(*c, q.add(scaled, reduce(r)));
            }
        }
    }

    /// floor(((q mod t) m + floor((t + 1) / 2)) / t), at most t.
    #[inline(always)]
    fn remainder(&self, m: u64) -> u64 {
        let (t, (w, companion)) = (self.t.value(), self.q_mod_t);
        // Shoup: the quotient is exact or one too small, so what is left lies in [0, 2t).
        let quotient = ((u128::from(m) * u128::from(companion)) >> 64) as u64;
        let rest = m.wrapping_mul(w).wrapping_sub(quotient.wrapping_mul(t));
        let above = u64::from(rest >= t);
        let rest = rest - above * t;
        quotient + above + u64::from(rest + t.div_ceil(2) >= t)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::primes;
    use crate::scheme::Parameters;

    #[test]
    fn scaling_is_exact_for_any_plaintext_modulus() {
        let moduli = primes::bfv_default(4096, 128).unwrap();
        for t in [2, 3, 4, 65537, 100_000_007, 1 << 40, (1 << 60) + 7] {
            for primes in 2..=3 {
                let context = Context::new(Parameters::bfv(4096, moduli.to_vec(), false, t).unwrap()).unwrap();
                let scaling = PlainScaling::new(&context, primes).unwrap();
                let q: BigUint = moduli[..primes].iter().product();
                let message: Vec<u64> = [0, 1, 2, t / 3, t / 2, t / 2 + 1, t - 2, t - 1].map(|m| m % t).to_vec();
                let mut polynomial = vec![0; primes * 4096];
                scaling.add(&message, &mut polynomial);
                for (i, &m) in message.iter().enumerate() {
                    let exact = (&q * m + t.div_ceil(2)) / t;
                    for (j, &q_j) in moduli[..primes].iter().enumerate() {
                        assert_eq!(BigUint::from(polynomial[j * 4096 + i]), &exact % q_j, "t {t} m {m}");
                    }
                }
                assert!(polynomial[message.len()..4096].iter().all(|&c| c == 0));
            }
        }
    }
}
