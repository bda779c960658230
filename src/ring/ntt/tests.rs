use super::*;
use crate::ring::primes;

/// Residues that visit the edges 0 and q - 1 and the whole range between.
fn polynomial(degree: usize, q: Modulus, seed: u64) -> Vec<u64> {
    (0..degree as u64)
        .map(|i| match (i ^ seed) % 7 {
            0 => 0,
            1 => q.value() - 1,
            _ => q.reduce((i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15 ^ seed)),
        })
        .collect()
}

fn prime(degree: usize, bits: u32) -> Modulus {
    Modulus::new(primes::largest(2 * degree as u64, bits, 1).unwrap()[0]).unwrap()
}

/// Every backend's table for one prime, the oracle first.
fn tables(degree: usize, q: Modulus) -> Vec<NttTable> {
    Backend::available().into_iter().map(|backend| NttTable::with_backend(degree, q, backend).unwrap()).collect()
}

#[test]
fn products_of_values_are_negacyclic_products() {
    for degree in [2, 4, 8, 16, 32, 64, 128, 256] {
        for bits in [20, 30, 45, 49, 50, 51, 60, 61] {
            let q = prime(degree, bits);
            let (a, b) = (polynomial(degree, q, 1), polynomial(degree, q, 2));
            let mut schoolbook = vec![0; degree];
            for (i, &a) in a.iter().enumerate() {
                for (j, &b) in b.iter().enumerate() {
                    let at = &mut schoolbook[(i + j) % degree];
                    *at = if i + j < degree { q.add(*at, q.mul(a, b)) } else { q.sub(*at, q.mul(a, b)) };
                }
            }
            for table in tables(degree, q) {
                let (mut a, mut b) = (a.clone(), b.clone());
                table.forward(&mut a);
                table.forward(&mut b);
                table.kernels().mul_assign(&mut a, &b);
                table.inverse(&mut a);
                assert_eq!(a, schoolbook, "{:?}, N = {degree}, {bits} bits", table.kernels().backend());
            }
        }
    }
}

#[test]
fn values_are_taken_at_seals_roots_in_seals_order() {
    let (degree, q) = (64, prime(64, 40));
    let a = polynomial(degree, q, 3);
    for table in tables(degree, q) {
        let mut values = a.clone();
        table.forward(&mut values);
        for (i, &value) in values.iter().enumerate() {
            let exponent = 2 * (i.reverse_bits() >> (usize::BITS - 6)) as u64 + 1;
            let point = q.pow(table.root(), exponent);
            let expected = a.iter().rev().fold(0, |sum, &c| q.add(q.mul(sum, point), c));
            assert_eq!(value, expected, "value {i}");
        }
    }
}

#[test]
fn backends_agree_at_every_degree_and_size_of_prime() {
    for degree in [1024, 2048, 4096, 8192, 16384, 32768] {
        for bits in [20, 27, 36, 45, 46, 47, 48, 49, 50, 51, 55, 60, 61] {
            let Ok(found) = primes::largest(2 * degree as u64, bits, 1) else { continue };
            let q = Modulus::new(found[0]).unwrap();
            let inputs = [polynomial(degree, q, u64::from(bits)), vec![q.value() - 1; degree], vec![0; degree]];
            let tables = tables(degree, q);
            for input in inputs {
                let (mut values, mut coefficients) = (input.clone(), input.clone());
                tables[0].forward(&mut values);
                tables[0].inverse(&mut coefficients);
                for table in &tables {
                    let backend = table.kernels().backend();
                    let mut x = input.clone();
                    table.forward(&mut x);
                    assert!(x == values, "forward, {backend:?}, N = {degree}, q = {}", q.value());
                    table.inverse(&mut x);
                    assert!(x == input, "there and back, {backend:?}, N = {degree}, q = {}", q.value());
                    table.inverse(&mut x);
                    assert!(x == coefficients, "inverse, {backend:?}, N = {degree}, q = {}", q.value());
                }
            }
        }
    }
}

#[test]
fn words_of_other_primes_are_reduced_moved_up_and_transformed() {
    for degree in [32, 64, 1024, 2048, 4096, 8192, 16384, 32768, 65536] {
        for bits in [20, 36, 45, 46, 47, 48, 49, 50, 60] {
            let Ok(found) = primes::largest(2 * degree as u64, bits, 1) else { continue };
            let q = Modulus::new(found[0]).unwrap();
            let tables = tables(degree, q);
            for from in [18, 36, 49, 50, 51, 52, 61].map(|bits| Modulus::new((1 << bits) - 1).unwrap()) {
                for offset in [0, q.value() - 1] {
                    let words = polynomial(degree, from, 7);
                    let mut expected: Vec<u64> = words.iter().map(|&x| q.add(q.reduce(x), offset)).collect();
                    tables[0].forward(&mut expected);
                    for table in &tables {
                        let mut out = vec![1; degree];
                        table.forward_from(&mut out, &words, from, offset);
                        let backend = table.kernels().backend();
                        assert!(out == expected, "{backend:?}, N = {degree}, q = {}, words {from:?}", q.value());
                    }
                }
            }
        }
    }
}

#[test]
fn degrees_and_moduli_without_a_transform_are_refused() {
    let q = prime(1024, 40);
    assert!(matches!(NttTable::new(1000, q), Err(Error::InvalidDegree { .. })));
    assert!(matches!(NttTable::new(0, q), Err(Error::InvalidDegree { .. })));
    assert!(matches!(NttTable::new(1 << 40, q), Err(Error::InvalidDegree { .. })));
    for q in [q.value() - 2, 1 << 40, 65537 * 65537] {
        assert!(matches!(NttTable::new(1024, Modulus::new(q).unwrap()), Err(Error::InvalidModulus { .. })), "{q}");
    }
}
