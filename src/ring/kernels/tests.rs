//! One suite for every backend: the portable kernels against the definitions in 128-bit arithmetic,
//! the others against the portable ones.

use proptest::prelude::*;

use super::*;

/// The modulus and lengths that a case runs at: a vector's worth, odd tails, none at all.
fn cases() -> impl Strategy<Value = (Modulus, usize, u64)> {
    let modulus = (2u32..=61).prop_flat_map(|bits| 1u64 << (bits - 1)..1 << bits).prop_filter("from 2", |&q| q >= 2);
    (modulus, 0usize..70, any::<u64>()).prop_map(|(q, len, seed)| (Modulus::new(q).unwrap(), len, seed))
}

/// Residues below `limit` that visit 0 and the limit - 1 often.
fn residues(limit: u64, len: usize, seed: u64) -> Vec<u64> {
    (0..len as u64)
        .map(|i| {
            let x = (seed ^ i.wrapping_mul(0xd134_2543_de82_ef95)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            match (x >> 60, (x >> 3) % limit) {
                (0..3, _) => limit - 1,
                (3..5, _) => 0,
                (_, x) => x,
            }
        })
        .collect()
}

/// Runs a kernel on every backend and compares its output with what the definition gives.
fn check(q: Modulus, expected: Vec<u64>, initial: &[u64], kernel: impl Fn(&Kernels, &mut [u64])) {
    for backend in Backend::available() {
        let mut out = initial.to_vec();
        kernel(&Kernels::with_backend(q, backend).unwrap(), &mut out);
        assert_eq!(out, expected, "{backend:?}, q = {}", q.value());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn sums_products_and_reductions((q, len, seed) in cases()) {
        let p = u128::from(q.value());
        let (a, b, c) = (residues(q.value(), len, seed), residues(q.value(), len, seed ^ 1), residues(q.value(), len, seed ^ 2));
        let s = residues(q.value(), 1, seed ^ 3)[0];
        let wide = residues(1 << 61, len, seed ^ 4);
        let each = |f: &dyn Fn(u128, u128, u128) -> u128| -> Vec<u64> {
            (0..len).map(|i| (f(a[i].into(), b[i].into(), c[i].into()) % p) as u64).collect()
        };
        let w = u128::from(s);
        check(q, each(&|a, b, _| a + b), &c, |k, x| k.add(x, &a, &b));
        check(q, each(&|a, b, _| a + b), &a, |k, x| k.add_assign(x, &b));
        check(q, each(&|a, _, _| a + w), &a, |k, x| k.add_scalar_assign(x, s));
        check(q, each(&|a, b, _| a + p - b), &c, |k, x| k.sub(x, &a, &b));
        check(q, each(&|a, b, _| a + p - b), &a, |k, x| k.sub_assign(x, &b));
        check(q, each(&|a, _, _| p - a), &c, |k, x| k.negate(x, &a));
        check(q, each(&|a, _, _| p - a), &a, |k, x| k.negate_assign(x));
        check(q, each(&|a, b, _| a * b), &c, |k, x| k.mul(x, &a, &b));
        check(q, each(&|a, b, _| a * b), &a, |k, x| k.mul_assign(x, &b));
        check(q, each(&|a, b, c| a * b + c), &c, |k, x| k.mul_add(x, &a, &b));
        check(q, each(&|a, _, _| a * w), &c, |k, x| k.mul_scalar(x, &a, s));
        check(q, each(&|a, _, _| a * w), &a, |k, x| k.mul_scalar_assign(x, s));
        check(q, each(&|a, _, c| a * w + c), &c, |k, x| k.mul_scalar_add(x, &a, s));
        check(q, each(&|a, b, _| (a + p - b) * w), &a, |k, x| k.sub_mul_scalar_assign(x, &b, s));
        check(q, wide.iter().map(|x| x % q.value()).collect(), &c, |k, x| k.reduce(x, &wide));
    }

    #[test]
    fn tensors((q, len, seed) in cases()) {
        let p = u128::from(q.value());
        let [a0, a1, b0, b1] = [0, 1, 2, 3].map(|i| residues(q.value(), len, seed ^ i));
        let each = |f: &dyn Fn([u128; 4]) -> u128| -> Vec<u64> {
            (0..len).map(|i| (f([a0[i], a1[i], b0[i], b1[i]].map(u128::from)) % p) as u64).collect()
        };
        let square = [each(&|[a, _, _, _]| a * a), each(&|[a, b, _, _]| 2 * a * b), each(&|[_, b, _, _]| b * b)];
        let product = [
            each(&|[a0, _, b0, _]| a0 * b0),
            each(&|[a0, a1, b0, b1]| a0 * b1 + a1 * b0),
            each(&|[_, a1, _, b1]| a1 * b1),
        ];
        for backend in Backend::available() {
            let kernels = Kernels::with_backend(q, backend).unwrap();
            let [mut x, mut y, mut z] = [vec![1; len], vec![2; len], vec![3; len]];
            kernels.square([&mut x, &mut y, &mut z], [&a0, &a1]);
            prop_assert_eq!([&x, &y, &z], square.each_ref(), "{:?}", backend);
            kernels.tensor([&mut x, &mut y, &mut z], [&a0, &a1], [&b0, &b1]);
            prop_assert_eq!([&x, &y, &z], product.each_ref(), "{:?}", backend);
        }
    }

    #[test]
    fn inner_products((q, len, seed) in cases(), terms in 0usize..70) {
        let limit = if q.value() < 1 << 50 { 1 << 50 } else { q.value() };
        let digits: Vec<_> = (0..terms as u64).map(|j| residues(limit, len, seed ^ (3 * j))).collect();
        let keys: Vec<_> = (0..terms as u64).map(|j| [1, 2].map(|k| residues(q.value(), len, seed ^ (3 * j + k)))).collect();
        let expected = [0, 1].map(|k| -> Vec<u64> {
            (0..len).map(|i| (0..terms).fold(0, |sum, j| q.reduce_wide(u128::from(digits[j][i]) * u128::from(keys[j][k][i]) + u128::from(sum)))).collect()
        });
        let digits: Vec<&[u64]> = digits.iter().map(Vec::as_slice).collect();
        let keys: Vec<[&[u64]; 2]> = keys.iter().map(|pair| pair.each_ref().map(Vec::as_slice)).collect();
        for backend in Backend::available() {
            let (mut out0, mut out1) = (vec![1; len], vec![2; len]);
            Kernels::with_backend(q, backend).unwrap().inner_products([&mut out0, &mut out1], &digits, &keys);
            prop_assert_eq!([&out0, &out1], expected.each_ref(), "{:?}", backend);
        }
    }

    #[test]
    fn inner_products_of_half_words((q, len, seed) in narrow_cases(), terms in 0usize..20) {
        let rows = |k: u64, limit: u64| -> Vec<Vec<u64>> {
            (0..terms as u64).map(|j| residues(limit, len, seed ^ (4 * j + k))).collect()
        };
        let half = |rows: &[Vec<u64>]| -> Vec<Vec<u32>> {
            rows.iter().map(|row| row.iter().map(|&x| x as u32).collect()).collect()
        };
        let (digits, a, b) = (rows(0, 1 << 50), rows(1, q.value()), rows(2, q.value()));
        let (half_a, half_b) = (half(&a), half(&b));
        for backend in Backend::available() {
            let kernels = Kernels::with_backend(q, backend).unwrap();
            let (mut whole, mut narrow) = ([vec![1; len], vec![2; len]], [vec![3; len], vec![4; len]]);
            // Half words as keys, then as what keys are multiplied by.
            kernels.inner_products(pair(&mut whole), &slices(&digits), &pairs(&a, &b));
            kernels.inner_products(pair(&mut narrow), &slices(&digits), &pairs(&half_a, &half_b));
            prop_assert_eq!(&narrow, &whole, "{:?}", backend);
            kernels.inner_products(pair(&mut whole), &slices(&a), &pairs(&b, &b));
            kernels.inner_products(pair(&mut narrow), &slices(&half_a), &pairs(&b, &b));
            prop_assert_eq!(&narrow, &whole, "{:?}", backend);
        }
    }
}

/// Moduli below 2^32, lengths around the lane widths, and a seed.
fn narrow_cases() -> impl Strategy<Value = (Modulus, usize, u64)> {
    (2u64..1 << 32, 0usize..200, any::<u64>()).prop_map(|(q, len, seed)| (Modulus::new(q).unwrap(), len, seed))
}

fn pair([first, second]: &mut [Vec<u64>; 2]) -> [&mut [u64]; 2] {
    [first, second]
}

fn slices<W>(rows: &[Vec<W>]) -> Vec<&[W]> {
    rows.iter().map(Vec::as_slice).collect()
}

fn pairs<'a, W>(a: &'a [Vec<W>], b: &'a [Vec<W>]) -> Vec<[&'a [W]; 2]> {
    a.iter().zip(b).map(|(a, b)| [&a[..], &b[..]]).collect()
}

/// The longest sums of the largest products: where a lazy accumulator would overflow first.
#[test]
fn inner_products_at_the_limits() {
    for bits in 2..=61 {
        let q = Modulus::new((1 << bits) - 1).unwrap();
        let digit = if bits <= 50 { (1 << 50) - 1 } else { q.value() - 1 };
        for terms in [1, 15, 16, 31, 64, 5000] {
            let (digits, keys) = (vec![digit; 16], vec![q.value() - 1; 16]);
            let expected = q.mul(q.reduce(digit), q.mul(q.value() - 1, q.reduce(terms as u64)));
            check(q, vec![expected; 16], &[0; 16], |kernels, out| {
                let mut other = [0; 16];
                kernels.inner_products([out, &mut other], &vec![&digits[..]; terms], &vec![[&keys[..]; 2]; terms]);
                assert_eq!(out, other);
            });
        }
    }
}

#[test]
fn a_backend_that_the_machine_lacks_is_an_error() {
    for backend in Backend::ALL {
        assert_eq!(Kernels::with_backend(Modulus::new(97).unwrap(), backend).is_ok(), backend.is_available());
    }
}

#[test]
#[should_panic(expected = "kernel operands")]
fn slices_of_different_lengths_stop_the_call() {
    Kernels::new(Modulus::new(97).unwrap()).unwrap().add(&mut [0; 8], &[0; 8], &[0; 7]);
}
