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

#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn inner_products(q: &Modulus52, [out0, out1]: [&mut [u64]; 2], digits: &[&[u64]], keys: &[[&[u64]; 2]]) {
    let (m, group) = (Arithmetic::new(q), q.lazy_products());
    let zero = _mm512_setzero_si512();
    let whole = out0.len() / 16 * 16;
    let outs = out0.chunks_mut(16).zip(out1.chunks_mut(16));
    for (block, (out0, out1)) in outs.enumerate() {
        let at = 16 * block;
        // Two vectors at a time keep eight chains of multiply-adds busy; a short tail is padded.
        let operand = |x: &[u64]| -> [__m512i; 2] {
            let mut padded = [[0; 8]; 2];
            let pair = if at < whole {
                let (lanes, _) = x[at..at + 16].as_chunks::<8>();
                return [load(&lanes[0]), load(&lanes[1])];
            } else {
                padded.as_flattened_mut()[..x.len() - at].copy_from_slice(&x[at..]);
                &padded
            };
            [load(&pair[0]), load(&pair[1])]
        };
        let mut sums = [[zero; 2]; 2];
        for (digits, keys) in digits.chunks(group).zip(keys.chunks(group)) {
            let mut wide = sums.map(|pair| pair.map(|sum| Accumulator::new(sum)));
            for (d, [k0, k1]) in digits.iter().zip(keys) {
                let (d, k0, k1) = (operand(d), operand(k0), operand(k1));
                for lane in 0..2 {
                    wide[0][lane].add_product(d[lane], k0[lane]);
                    wide[1][lane].add_product(d[lane], k1[lane]);
                }
            }
            sums = wide.map(|pair| pair.map(|sum| sum.reduce(&m)));
        }
        for (out, sum) in [out0, out1].into_iter().zip(sums) {
            let mut lanes = [[0; 8]; 2];
            store(&mut lanes[0], sum[0]);
            store(&mut lanes[1], sum[1]);
            out.copy_from_slice(&lanes.as_flattened()[..out.len()]);
        }
    }
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
