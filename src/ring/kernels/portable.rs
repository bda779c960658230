//! The oracle: every kernel in plain Rust, for every modulus below 2^61.

use crate::ring::modulus::Modulus;
use crate::ring::rows::Word;

#[inline(always)]
pub(super) fn add(q: Modulus, out: &mut [u64], a: &[u64], b: &[u64]) {
    for (out, (&a, &b)) in out.iter_mut().zip(a.iter().zip(b)) {
        *out = q.add(a, b);
    }
}

#[inline(always)]
pub(super) fn add_assign(q: Modulus, a: &mut [u64], b: &[u64]) {
    for (a, &b) in a.iter_mut().zip(b) {
        *a = q.add(*a, b);
    }
}

#[inline(always)]
pub(super) fn add_scalar_assign(q: Modulus, a: &mut [u64], scalar: u64) {
    for a in a {
        *a = q.add(*a, scalar);
    }
}

#[inline(always)]
pub(super) fn sub(q: Modulus, out: &mut [u64], a: &[u64], b: &[u64]) {
    for (out, (&a, &b)) in out.iter_mut().zip(a.iter().zip(b)) {
        *out = q.sub(a, b);
    }
}

#[inline(always)]
pub(super) fn sub_assign(q: Modulus, a: &mut [u64], b: &[u64]) {
    for (a, &b) in a.iter_mut().zip(b) {
        *a = q.sub(*a, b);
    }
}

#[inline(always)]
pub(super) fn negate(q: Modulus, out: &mut [u64], a: &[u64]) {
    for (out, &a) in out.iter_mut().zip(a) {
        *out = q.neg(a);
    }
}

#[inline(always)]
pub(super) fn negate_assign(q: Modulus, a: &mut [u64]) {
    for a in a {
        *a = q.neg(*a);
    }
}

pub(super) fn mul(q: Modulus, out: &mut [u64], a: &[u64], b: &[u64]) {
    for (out, (&a, &b)) in out.iter_mut().zip(a.iter().zip(b)) {
        *out = q.mul(a, b);
    }
}

pub(super) fn mul_assign(q: Modulus, a: &mut [u64], b: &[u64]) {
    for (a, &b) in a.iter_mut().zip(b) {
        *a = q.mul(*a, b);
    }
}

pub(super) fn mul_add(q: Modulus, sum: &mut [u64], a: &[u64], b: &[u64]) {
    for (sum, (&a, &b)) in sum.iter_mut().zip(a.iter().zip(b)) {
        *sum = q.reduce_wide(u128::from(a) * u128::from(b) + u128::from(*sum));
    }
}

pub(super) fn mul_scalar(q: Modulus, out: &mut [u64], a: &[u64], scalar: u64) {
    let companion = q.shoup(scalar);
    for (out, &a) in out.iter_mut().zip(a) {
        *out = q.mul_shoup(a, scalar, companion);
    }
}

pub(super) fn mul_scalar_assign(q: Modulus, a: &mut [u64], scalar: u64) {
    let companion = q.shoup(scalar);
    for a in a {
        *a = q.mul_shoup(*a, scalar, companion);
    }
}

pub(super) fn mul_scalar_add(q: Modulus, sum: &mut [u64], a: &[u64], scalar: u64) {
    let companion = q.shoup(scalar);
    for (sum, &a) in sum.iter_mut().zip(a) {
        *sum = q.add(*sum, q.mul_shoup(a, scalar, companion));
    }
}

pub(super) fn reduce(q: Modulus, out: &mut [u64], a: &[u64]) {
    for (out, &a) in out.iter_mut().zip(a) {
        *out = q.reduce(a);
    }
}

pub(super) fn square(q: Modulus, [out0, out1, out2]: [&mut [u64]; 3], [c0, c1]: [&[u64]; 2]) {
    let outs = out0.iter_mut().zip(out1).zip(out2);
    for (((out0, out1), out2), (&a, &b)) in outs.zip(c0.iter().zip(c1)) {
        *out0 = q.mul(a, a);
        let cross = q.mul(a, b);
        *out1 = q.add(cross, cross);
        *out2 = q.mul(b, b);
    }
}

pub(super) fn tensor(q: Modulus, [out0, out1, out2]: [&mut [u64]; 3], [a0, a1]: [&[u64]; 2], [b0, b1]: [&[u64]; 2]) {
    let outs = out0.iter_mut().zip(out1).zip(out2);
    let ins = a0.iter().zip(a1).zip(b0.iter().zip(b1));
    for (((out0, out1), out2), ((&a0, &a1), (&b0, &b1))) in outs.zip(ins) {
        *out0 = q.mul(a0, b0);
        *out1 = q.reduce_wide(u128::from(a0) * u128::from(b1) + u128::from(a1) * u128::from(b0));
        *out2 = q.mul(a1, b1);
    }
}

/// How many products below 2^122 a double word holds beside one more residue.
const LAZY_PRODUCTS: usize = 63;

pub(super) fn inner_products<D: Word, K: Word>(
    q: Modulus,
    [out0, out1]: [&mut [u64]; 2],
    digits: &[&[D]],
    keys: &[[&[K]; 2]],
) {
    for (i, (out0, out1)) in out0.iter_mut().zip(out1).enumerate() {
        let (mut sum0, mut sum1) = (0, 0);
        for (digits, keys) in digits.chunks(LAZY_PRODUCTS).zip(keys.chunks(LAZY_PRODUCTS)) {
            let (mut wide0, mut wide1) = (u128::from(sum0), u128::from(sum1));
            for (d, [k0, k1]) in digits.iter().zip(keys) {
                let d = u128::from(d[i].into());
                wide0 += d * u128::from(k0[i].into());
                wide1 += d * u128::from(k1[i].into());
            }
            (sum0, sum1) = (q.reduce_wide(wide0), q.reduce_wide(wide1));
        }
        (*out0, *out1) = (sum0, sum1);
    }
}

pub(super) fn sub_mul_scalar_assign(q: Modulus, c: &mut [u64], t: &[u64], factor: u64) {
    let companion = q.shoup(factor);
    for (c, &t) in c.iter_mut().zip(t) {
        *c = q.mul_shoup(q.sub(*c, t), factor, companion);
    }
}
