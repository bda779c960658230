//! Pointwise kernels with AVX-512 IFMA, for moduli of 12 to 50 bits.

use std::arch::x86_64::*;

use crate::ring::backend::ifma::{Accumulator, Arithmetic, Lanes, Modulus52, broadcast, companion, load, store};

/// Replaces each element of `out` by f(it, those of the inputs), eight at a time.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn update<const K: usize>(out: &mut [u64], inputs: [&[u64]; K], f: impl Fn(__m512i, [__m512i; K]) -> __m512i) {
    let (blocks, tail) = out.as_chunks_mut::<8>();
    let ins = inputs.map(|input| &input.as_chunks::<8>().0[..blocks.len()]);
    for (i, block) in blocks.iter_mut().enumerate() {
        let result = f(load(block), ins.map(|x| load(&x[i])));
        store(block, result);
    }
    if !tail.is_empty() {
        let padded = |x: &[u64]| {
            let mut lanes: Lanes = [0; 8];
            lanes[..x.len()].copy_from_slice(x);
            load(&lanes)
        };
        let result = f(padded(tail), inputs.map(|input| padded(input.as_chunks::<8>().1)));
        let mut lanes: Lanes = [0; 8];
        store(&mut lanes, result);
        tail.copy_from_slice(&lanes[..tail.len()]);
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn constant(q: &Modulus52, scalar: u64) -> (__m512i, __m512i) {
    (broadcast(scalar), broadcast(companion(scalar, q.value())))
}

#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn add(q: &Modulus52, out: &mut [u64], a: &[u64], b: &[u64]) {
    let m = Arithmetic::new(q);
    update(out, [a, b], |_, [a, b]| m.add(a, b));
}

#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn add_assign(q: &Modulus52, a: &mut [u64], b: &[u64]) {
    let m = Arithmetic::new(q);
    update(a, [b], |a, [b]| m.add(a, b));
}

#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn add_scalar_assign(q: &Modulus52, a: &mut [u64], scalar: u64) {
    let (m, scalar) = (Arithmetic::new(q), broadcast(scalar));
    update(a, [], |a, []| m.add(a, scalar));
}

#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn sub(q: &Modulus52, out: &mut [u64], a: &[u64], b: &[u64]) {
    let m = Arithmetic::new(q);
    update(out, [a, b], |_, [a, b]| m.sub(a, b));
}

#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn sub_assign(q: &Modulus52, a: &mut [u64], b: &[u64]) {
    let m = Arithmetic::new(q);
    update(a, [b], |a, [b]| m.sub(a, b));
}

#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn negate(q: &Modulus52, out: &mut [u64], a: &[u64]) {
    let m = Arithmetic::new(q);
    update(out, [a], |_, [a]| m.negate(a));
}

#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn negate_assign(q: &Modulus52, a: &mut [u64]) {
    let m = Arithmetic::new(q);
    update(a, [], |a, []| m.negate(a));
}

#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn mul(q: &Modulus52, out: &mut [u64], a: &[u64], b: &[u64]) {
    let m = Arithmetic::new(q);
    update(out, [a, b], |_, [a, b]| m.mul(a, b));
}

#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn mul_assign(q: &Modulus52, a: &mut [u64], b: &[u64]) {
    let m = Arithmetic::new(q);
    update(a, [b], |a, [b]| m.mul(a, b));
}

#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn mul_add(q: &Modulus52, sum: &mut [u64], a: &[u64], b: &[u64]) {
    let m = Arithmetic::new(q);
    update(sum, [a, b], |sum, [a, b]| m.mul_add(a, b, sum));
}

#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn mul_scalar(q: &Modulus52, out: &mut [u64], a: &[u64], scalar: u64) {
    let (m, scalar) = (Arithmetic::new(q), constant(q, scalar));
    update(out, [a], |_, [a]| m.mul_constant(a, scalar));
}

#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn mul_scalar_assign(q: &Modulus52, a: &mut [u64], scalar: u64) {
    let (m, scalar) = (Arithmetic::new(q), constant(q, scalar));
    update(a, [], |a, []| m.mul_constant(a, scalar));
}

#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn mul_scalar_add(q: &Modulus52, sum: &mut [u64], a: &[u64], scalar: u64) {
    let (m, scalar) = (Arithmetic::new(q), constant(q, scalar));
    update(sum, [a], |sum, [a]| m.add(sum, m.mul_constant(a, scalar)));
}

#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn reduce(q: &Modulus52, out: &mut [u64], a: &[u64]) {
    let m = Arithmetic::new(q);
    update(out, [a], |_, [a]| m.reduce(a));
}

#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn square(q: &Modulus52, [out0, out1, out2]: [&mut [u64]; 3], [c0, c1]: [&[u64]; 2]) {
    let m = Arithmetic::new(q);
    update(out0, [c0], |_, [a]| m.mul(a, a));
    update(out1, [c0, c1], |_, [a, b]| {
        let cross = m.mul(a, b);
        m.add(cross, cross)
    });
    update(out2, [c1], |_, [b]| m.mul(b, b));
}

#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn tensor(q: &Modulus52, [out0, out1, out2]: [&mut [u64]; 3], [a0, a1]: [&[u64]; 2], [b0, b1]: [&[u64]; 2]) {
    let m = Arithmetic::new(q);
    update(out0, [a0, b0], |_, [a0, b0]| m.mul(a0, b0));
    update(out1, [a0, a1, b0, b1], |_, [a0, a1, b0, b1]| m.mul_add(a0, b1, m.mul(a1, b0)));
    update(out2, [a1, b1], |_, [a1, b1]| m.mul(a1, b1));
}

/// Two vectors, so that the multiply-adds of an inner product form eight independent chains.
const PAIR: usize = 16;

#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn inner_products(q: &Modulus52, [out0, out1]: [&mut [u64]; 2], digits: &[&[u64]], keys: &[[&[u64]; 2]]) {
    let (out0, tail0) = out0.as_chunks_mut::<PAIR>();
    let (out1, tail1) = out1.as_chunks_mut::<PAIR>();
    let m = Arithmetic::new(q);
    for (i, (out0, out1)) in out0.iter_mut().zip(out1).enumerate() {
        inner_product_pairs(&m, q.lazy_products(), [out0, out1], digits, keys, PAIR * i);
    }
    if !tail0.is_empty() {
        let padded = |x: &[u64]| {
            let tail = x.as_chunks::<PAIR>().1;
            let mut pair = [0; PAIR];
            pair[..tail.len()].copy_from_slice(tail);
            pair
        };
        let digits: Vec<_> = digits.iter().map(|d| padded(d)).collect();
        let keys: Vec<_> = keys.iter().map(|pair| pair.map(padded)).collect();
        let (mut out0, mut out1) = ([0; PAIR], [0; PAIR]);
        let digits: Vec<_> = digits.iter().map(|d| &d[..]).collect();
        let keys: Vec<_> = keys.iter().map(|[k0, k1]| [&k0[..], &k1[..]]).collect();
        inner_product_pairs(&m, q.lazy_products(), [&mut out0, &mut out1], &digits, &keys, 0);
        tail0.copy_from_slice(&out0[..tail0.len()]);
        tail1.copy_from_slice(&out1[..tail1.len()]);
    }
}

/// The inner products of the 16 residues from index `at` on, `group` terms between two reductions.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn inner_product_pairs(
    m: &Arithmetic,
    group: usize,
    [out0, out1]: [&mut [u64; PAIR]; 2],
    digits: &[&[u64]],
    keys: &[[&[u64]; 2]],
    at: usize,
) {
    let (mut a0, mut b0, mut a1, mut b1) = (m.zero(), m.zero(), m.zero(), m.zero());
    for (digits, keys) in digits.chunks(group).zip(keys.chunks(group)) {
        let (mut wide_a0, mut wide_b0) = (Accumulator::new(a0), Accumulator::new(b0));
        let (mut wide_a1, mut wide_b1) = (Accumulator::new(a1), Accumulator::new(b1));
        for (d, [k0, k1]) in digits.iter().zip(keys) {
            let (da, db) = load_pair(d, at);
            let (k0a, k0b) = load_pair(k0, at);
            let (k1a, k1b) = load_pair(k1, at);
            wide_a0.add_product(da, k0a);
            wide_b0.add_product(db, k0b);
            wide_a1.add_product(da, k1a);
            wide_b1.add_product(db, k1b);
        }
        (a0, b0) = (wide_a0.reduce(m), wide_b0.reduce(m));
        (a1, b1) = (wide_a1.reduce(m), wide_b1.reduce(m));
    }
    store_pair(out0, a0, b0);
    store_pair(out1, a1, b1);
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn load_pair(x: &[u64], at: usize) -> (__m512i, __m512i) {
    let (pair, _) = x[at..at + PAIR].as_chunks::<8>();
    (load(&pair[0]), load(&pair[1]))
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn store_pair(x: &mut [u64; PAIR], a: __m512i, b: __m512i) {
    let (pair, _) = x.as_chunks_mut::<8>();
    store(&mut pair[0], a);
    store(&mut pair[1], b);
}

#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn sub_mul_scalar(
    q: &Modulus52,
    out: &mut [u64],
    c: &[u64],
    t: &[u64],
    factor: u64,
    addend: Option<&[u64]>,
) {
    let (m, factor) = (Arithmetic::new(q), constant(q, factor));
    // The difference may stay in (0, 2q): the multiplication takes any 52 bits.
    let quotient = |c, t| m.mul_constant(_mm512_add_epi64(_mm512_sub_epi64(c, t), m.q), factor);
    match addend {
        None => update(out, [c, t], |_, [c, t]| quotient(c, t)),
        Some(addend) => update(out, [c, t, addend], |_, [c, t, addend]| m.add(quotient(c, t), addend)),
    }
}

#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn sub_mul_scalar_assign(q: &Modulus52, c: &mut [u64], t: &[u64], factor: u64) {
    let (m, factor) = (Arithmetic::new(q), constant(q, factor));
    update(c, [t], |c, [t]| m.mul_constant(_mm512_add_epi64(_mm512_sub_epi64(c, t), m.q), factor));
}
