//! From residues modulo one set of primes to residues modulo another, exactly.
//!
//! A number x in (-M/2, M/2), M the product of the input primes m_i, is the sum of y_i M/m_i less v M,
//! with y_i = x (M/m_i)^-1 mod m_i and v the sum of y_i/m_i, rounded. Floating point finds v: Halevi,
//! Polyakov, Shoup, "An improved RNS variant of the BFV homomorphic encryption scheme" (ePrint
//! 2018/117), section 2.2. Where |x| comes close to M/2 the result may stand for x - M or x + M instead.
//!
//! The same sum with other factors multiplies x by a rational number on the way and rounds (section
//! 2.3): each y_i then also carries a fixed-point fraction.

use num_bigint::BigUint;

use crate::ring::{Backend, NttTable};

#[cfg(target_arch = "x86_64")]
mod avx512ifma;
mod portable;

/// Fixed-point fractions are summed with so many bits after the point.
const FRACTION_BITS: u32 = 52;

/// The conversion of residues modulo the input primes to residues modulo the output primes of
/// round(x r), for a rational number r.
#[derive(Debug)]
pub(super) struct Conversion {
    inputs: Vec<Input>,
    outputs: Vec<Output>,
    /// the fractions' bits: 52 where every modulus is below 2^50, otherwise 64
    fraction_bits: u32,
    backend: Backend,
}

/// What happens to the residues of one input prime.
#[derive(Debug)]
struct Input {
    modulus: crate::ring::Modulus,
    /// (M/m_i)^-1 mod m_i
    factor: u64,
    reciprocal: f64,
    /// the fractional part of r M/m_i, in units of 2^-fraction_bits
    fraction: u64,
}

/// How the residues of one output prime are made.
#[derive(Debug)]
struct Output {
    modulus: crate::ring::Modulus,
    /// the integral part of r M/m_i for each input prime
    factors: Vec<u64>,
    /// -r M, an integer
    minus_product: u64,
}

impl Conversion {
    /// The conversion that keeps x as it is.
    pub(super) fn exact(inputs: &[&NttTable], outputs: &[&NttTable]) -> Self {
        Self::scaled(inputs, outputs, &BigUint::from(1u32), &BigUint::from(1u32))
    }

    /// The conversion of x to round(x numerator / denominator); the denominator divides the product of
    /// the input primes times the numerator.
    pub(super) fn scaled(
        inputs: &[&NttTable],
        outputs: &[&NttTable],
        numerator: &BigUint,
        denominator: &BigUint,
    ) -> Self {
        let product: BigUint = inputs.iter().map(|table| BigUint::from(table.modulus().value())).product();
        let scaled = &product * numerator / denominator;
        let narrow = inputs.iter().chain(outputs).all(|table| table.modulus().bits() <= 50);
        let fraction_bits = if narrow { FRACTION_BITS } else { u64::BITS };
        let low_word = |x: BigUint| x.iter_u64_digits().next().unwrap_or(0);
        let modulo = |x: &BigUint, table: &NttTable| low_word(x % table.modulus().value());
        Self {
            inputs: inputs
                .iter()
                .map(|table| {
                    let m = table.modulus();
                    let cofactor = modulo(&(&product / m.value()), table);
                    let remainder = modulo(&scaled, table);
                    Input {
                        modulus: m,
                        factor: m.pow(cofactor, m.value() - 2),
                        reciprocal: 1.0 / m.value() as f64,
                        fraction: ((u128::from(remainder) << fraction_bits) / u128::from(m.value())) as u64,
                    }
                })
                .collect(),
            outputs: outputs
                .iter()
                .map(|table| Output {
                    modulus: table.modulus(),
                    factors: inputs.iter().map(|input| modulo(&(&scaled / input.modulus().value()), table)).collect(),
                    minus_product: table.modulus().neg(modulo(&scaled, table)),
                })
                .collect(),
            fraction_bits,
            backend: if narrow { outputs[0].kernels().backend() } else { Backend::Portable },
        }
    }

    /// Converts N coefficients: `input` is `[input primes][N]`, `output` `[output primes][N]`.
    pub(super) fn apply(&self, output: &mut [u64], input: &[u64]) {
        debug_assert_eq!(input.len() * self.outputs.len(), output.len() * self.inputs.len());
        #[cfg(target_arch = "x86_64")]
        if self.backend == Backend::Avx512Ifma && self.inputs.len() <= avx512ifma::MAX_INPUTS {
            // SAFETY: a Backend::Avx512Ifma is only handed out where the processor has the instructions.
            return unsafe { avx512ifma::apply(self, output, input) };
        }
        portable::apply(self, output, input);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::{Kernels, Modulus, primes};
    use num_bigint::BigInt;
    use proptest::prelude::*;

    const DEGREE: usize = 1024;

    fn tables(bits: u32, count: usize) -> Vec<NttTable> {
        let moduli = primes::largest(2 * DEGREE as u64, bits, count).unwrap();
        moduli.into_iter().map(|q| NttTable::new(DEGREE, Modulus::new(q).unwrap()).unwrap()).collect()
    }

    /// The number in (-M/2, M/2] with the given residues.
    fn centred(tables: &[NttTable], residue: impl Fn(usize) -> u64) -> BigInt {
        let product: BigUint = tables.iter().map(|t| BigUint::from(t.modulus().value())).product();
        let sum: BigUint = tables
            .iter()
            .enumerate()
            .map(|(i, t)| {
                let m = t.modulus();
                let cofactor = &product / m.value();
                let inverse = m.inv((&cofactor % m.value()).iter_u64_digits().next().unwrap_or(0)).unwrap();
                cofactor * m.mul(residue(i), inverse)
            })
            .sum();
        let x = BigInt::from(sum % &product);
        if &x * 2 > product.clone().into() { x - BigInt::from(product) } else { x }
    }

    fn modulo(x: &BigInt, table: &NttTable) -> u64 {
        let q = BigInt::from(table.modulus().value());
        u64::try_from(((x % &q) + &q) % &q).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        #[test]
        fn conversions_are_exact_and_round_to_the_nearest(bits in 30u32..=60, k in 1usize..=4, t in 2u64..1 << 40, seed: u64) {
            let from = tables(bits, k + 3);
            let to = tables(bits - 1, 3);
            let (from_ref, to_ref): (Vec<_>, Vec<_>) = (from.iter().collect(), to.iter().collect());
            let denominator: BigUint = from[..k].iter().map(|t| BigUint::from(t.modulus().value())).product();
            let len = 24;
            let mut state = seed;
            let mut random = || { state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407); state >> 3 };
            let mut input: Vec<u64> = (0..from.len() * len).map(|i| random() % from[i / len].modulus().value()).collect();
            for i in 0..from.len() {
                // zero, one and minus one among them
                (input[i * len], input[i * len + 1], input[i * len + 2]) = (0, 1, from[i].modulus().value() - 1);
            }
            let mut output = vec![0; to.len() * len];
            let mut oracle = output.clone();

            let exact = Conversion::exact(&from_ref, &to_ref);
            exact.apply(&mut output, &input);
            portable::apply(&exact, &mut oracle, &input);
            prop_assert_eq!(&output, &oracle);
            for at in 0..len {
                let x = centred(&from, |i| input[i * len + at]);
                for (j, table) in to.iter().enumerate() {
                    prop_assert_eq!(output[j * len + at], modulo(&x, table));
                }
            }

            let scaled = Conversion::scaled(&from_ref, &to_ref, &t.into(), &denominator);
            scaled.apply(&mut output, &input);
            portable::apply(&scaled, &mut oracle, &input);
            prop_assert_eq!(&output, &oracle);
            for at in 0..len {
                let x = centred(&from, |i| input[i * len + at]);
                let (numerator, denominator) = (x * t * 2 + BigInt::from(denominator.clone()), BigInt::from(denominator.clone()) * 2);
                let floor = |a: BigInt| { let r = ((&a % &denominator) + &denominator) % &denominator; (a - r) / &denominator };
                let nearest = floor(numerator);
                for (j, table) in to.iter().enumerate() {
                    // the fractions are cut off: the sum may round down where it should round up
                    let q = table.modulus();
                    let difference = q.center(q.sub(output[j * len + at], modulo(&nearest, table)));
                    prop_assert!((-1..=0).contains(&difference), "off by {}", difference);
                }
            }
        }
    }

    #[test]
    fn kernels_know_the_backend() {
        let table = &tables(45, 1)[0];
        assert_eq!(table.kernels().backend(), Kernels::new(table.modulus()).unwrap().backend());
    }
}
