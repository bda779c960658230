use num_bigint::{BigInt, BigUint};
use proptest::prelude::*;

use super::*;
use crate::ring::{Backend, Modulus, primes};

fn moduli(primes: &[u64]) -> Vec<Modulus> {
    primes.iter().map(|&q| Modulus::new(q).unwrap()).collect()
}

/// Two disjoint bases of primes of any size below 61 bits.
fn bases(bits: u32, from: usize, to: usize) -> (Vec<Modulus>, Vec<Modulus>) {
    let primes = primes::largest(64, bits, from + to).unwrap();
    (moduli(&primes[..from]), moduli(&primes[from..]))
}

/// Integers across (-Q/2, Q/2), its edges among them (as near as the floating point allows).
fn integers(basis: &RnsBasis, seed: u64, len: usize) -> Vec<BigInt> {
    let q = BigInt::from(basis.product().clone());
    let edge: BigInt = &q / 2 - (&q >> 40) - 1;
    let mut x: Vec<BigInt> = vec![0.into(), 1.into(), (-1).into(), edge.clone(), -edge.clone()];
    let mut power = BigInt::from(seed | 1);
    while x.len() < len {
        power = (power * 0x9e37_79b9_7f4a_7c15u64 + 12345u32) % &q;
        x.push((&power * 2 - &q) * &edge / &q);
    }
    x.truncate(len);
    x
}

/// Residues `[moduli][integers]`.
fn residues(moduli: &[Modulus], x: &[BigInt]) -> Vec<u64> {
    let single: Vec<_> = moduli.iter().map(|&q| RnsBasis::new(&[q]).unwrap()).collect();
    single.iter().flat_map(|q| x.iter().map(|x| q.decompose(x)[0])).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn conversion_keeps_the_integer(bits in 18u32..=61, from in 1usize..20, to in 1usize..6, len in 1usize..40, seed: u64) {
        let (from, to) = bases(bits, from, to);
        let x = integers(&RnsBasis::new(&from).unwrap(), seed, len);
        let (input, expected) = (residues(&from, &x), residues(&to, &x));
        for backend in Backend::available() {
            let mut output = vec![7; expected.len()];
            BaseConverter::with_backend(&from, &to, [&BigUint::from(1u32); 2], backend).unwrap().convert(&mut output, &input);
            prop_assert_eq!(&output, &expected, "{:?}", backend);
        }
    }

    #[test]
    fn scaled_conversion_rounds_to_the_nearest(bits in 20u32..=61, kept in 1usize..8, dropped in 1usize..8, t: u64, seed: u64) {
        let (from, to) = bases(bits, kept + dropped, 2);
        let x = integers(&RnsBasis::new(&from).unwrap(), seed, 40);
        let (numerator, denominator) = (BigUint::from(t), RnsBasis::new(&from[kept..]).unwrap().product().clone());
        let input = residues(&from, &x);
        let mut expected = Vec::new();
        for backend in Backend::available() {
            let mut output = vec![7; 2 * x.len()];
            let ratio = [&numerator, &denominator];
            BaseConverter::with_backend(&from, &to, ratio, backend).unwrap().convert(&mut output, &input);
            if backend == Backend::Portable {
                expected = output.clone();
            }
            prop_assert_eq!(&output, &expected, "{:?}", backend);
        }
        let pair = RnsBasis::new(&to).unwrap();
        let denominator = BigInt::from(denominator);
        for (i, x) in x.iter().enumerate() {
            // x t / d - result, modulo p_0 p_1, in units of 1/8
            let result = pair.compose(&[expected[i], expected[40 + i]]);
            let off = (x * t - BigInt::from(result) * &denominator) * 8 / &denominator;
            let eights = BigInt::from(pair.product() * 8u32);
            let off = i64::try_from(((off % &eights) + &eights + &eights / 2) % &eights - &eights / 2).unwrap();
            prop_assert!(off.unsigned_abs() as usize <= 4 + from.len(), "off by {off}/8");
        }
    }
}

#[test]
fn backends_agree_on_any_residues_even_next_to_half_the_modulus() {
    let (from, to) = bases(50, 9, 3);
    let basis = RnsBasis::new(&from).unwrap();
    let half = BigInt::from(basis.product() >> 1u32);
    let x: Vec<BigInt> = (-20..20).map(|i| &half + i).collect();
    let input = residues(&from, &x);
    let mut expected = vec![0; to.len() * x.len()];
    BaseConverter::with_backend(&from, &to, [&BigUint::from(1u32); 2], Backend::Portable)
        .unwrap()
        .convert(&mut expected, &input);
    for backend in Backend::available() {
        let mut output = vec![0; expected.len()];
        BaseConverter::with_backend(&from, &to, [&BigUint::from(1u32); 2], backend)
            .unwrap()
            .convert(&mut output, &input);
        assert_eq!(output, expected, "{backend:?}");
    }
}

#[test]
fn more_terms_than_an_accumulator_holds() {
    let (from, to) = bases(50, 100, 2);
    let x = integers(&RnsBasis::new(&from).unwrap(), 5, 19);
    let (input, expected) = (residues(&from, &x), residues(&to, &x));
    for backend in Backend::available() {
        let mut output = vec![0; expected.len()];
        BaseConverter::with_backend(&from, &to, [&BigUint::from(1u32); 2], backend)
            .unwrap()
            .convert(&mut output, &input);
        assert_eq!(output, expected, "{backend:?}");
    }
}

#[test]
fn composition_inverts_decomposition() {
    let basis = RnsBasis::new(&moduli(&[97, 65537, (1 << 61) - 1, 256])).unwrap();
    let product = basis.product().clone();
    assert_eq!(product, BigUint::from(97u32) * 65537u32 * ((1u64 << 61) - 1) * 256u32);
    for x in [
        BigInt::from(0),
        BigInt::from(1),
        BigInt::from(-1),
        BigInt::from(&product >> 1u32),
        BigInt::from(123_456_789) << 40u32,
    ] {
        assert_eq!(basis.compose_centered(&basis.decompose(&x)), x);
    }
    let below_zero = -BigInt::from(&product >> 1u32);
    // Q is even: -Q/2 and Q/2 have the same residues, and the interval holds the latter.
    assert_eq!(basis.compose_centered(&basis.decompose(&below_zero)), -below_zero);
    assert_eq!(basis.compose(&basis.decompose(&BigInt::from(-1))), product - 1u32);
}

#[test]
fn a_ratio_that_does_not_divide_is_refused() {
    let (from, to) = bases(30, 2, 1);
    for denominator in [0u32, 2, 3] {
        assert!(BaseConverter::scaled(&from, &to, [&BigUint::from(1u32), &denominator.into()]).is_err());
    }
}

#[test]
fn bases_that_are_none_are_refused() {
    assert!(RnsBasis::new(&[]).is_err());
    assert!(RnsBasis::new(&moduli(&[97, 97])).is_err());
    assert!(RnsBasis::new(&moduli(&[15, 21])).is_err());
    assert!(RnsBasis::new(&moduli(&[97; 129])).is_err());
}
