//! The complex transform of CKKS: a polynomial's values at the odd powers of a 2N-th root of unity.
//!
//! The roots, the order of values and of operations are those of SEAL's encoder, so that plaintexts come
//! out the same to the last bit of a double: Longa and Naehrig, "Speeding up the number theoretic
//! transform", algorithms 1 and 2, over the complex numbers. Real and imaginary parts lie in two arrays,
//! which lets the compiler use vector instructions without changing a rounding.

use std::f64::consts::PI;

/// Powers of the primitive 2N-th root of unity exp(i pi / N), in the order in which they are used.
#[derive(Debug, Clone)]
pub(super) struct Fft {
    /// (real, imaginary) of root^rev(i), from i = 1 on
    forward: Vec<(f64, f64)>,
    /// of root^-(rev(i - 1) + 1), from i = 1 on
    inverse: Vec<(f64, f64)>,
}

/// N complex numbers, real parts and imaginary parts.
#[derive(Debug, Clone)]
pub(super) struct Complexes {
    pub re: Vec<f64>,
    pub im: Vec<f64>,
}

impl Complexes {
    /// N zeros.
    pub fn zeros(len: usize) -> Self {
        Self { re: vec![0.0; len], im: vec![0.0; len] }
    }
}

/// The root of unity of order `order` to a power, from the first eighth of the circle by symmetry.
fn root(order: usize, power: usize) -> (f64, f64) {
    let power = power % order;
    let first = |power: usize| {
        let (sin, cos) = (2.0 * PI * power as f64 / order as f64).sin_cos();
        (cos, sin)
    };
    if power <= order / 8 {
        first(power)
    } else if power <= order / 4 {
        let (re, im) = first(order / 4 - power);
        (im, re)
    } else if power <= order / 2 {
        let (re, im) = root(order, order / 2 - power);
        (-re, im)
    } else if power <= 3 * order / 4 {
        let (re, im) = root(order, power - order / 2);
        (-re, -im)
    } else {
        let (re, im) = root(order, order - power);
        (re, -im)
    }
}

impl Fft {
    /// Tables for polynomials of `degree` coefficients, a power of two.
    pub fn new(degree: usize) -> Self {
        let reversed = |i: usize| i.reverse_bits() >> (usize::BITS - degree.trailing_zeros());
        let forward = (1..degree).map(|i| root(2 * degree, reversed(i))).collect();
        let inverse = (1..degree).map(|i| root(2 * degree, reversed(i - 1) + 1)).map(|(re, im)| (re, -im)).collect();
        Self { forward, inverse }
    }

    /// Coefficients to values, in place; values come in bit-reversed order.
    pub fn forward(&self, x: &mut Complexes) {
        let mut half = x.re.len() / 2;
        let mut roots = self.forward.iter();
        while half > 0 {
            let blocks = x.re.chunks_exact_mut(2 * half).zip(x.im.chunks_exact_mut(2 * half));
            for ((re, im), &(root_re, root_im)) in blocks.zip(roots.by_ref()) {
                let ((u_re, v_re), (u_im, v_im)) = (re.split_at_mut(half), im.split_at_mut(half));
                for ((a, b), (c, d)) in u_re.iter_mut().zip(v_re).zip(u_im.iter_mut().zip(v_im)) {
                    let (product_re, product_im) = (*b * root_re - *d * root_im, *b * root_im + *d * root_re);
                    (*a, *b) = (*a + product_re, *a - product_re);
                    (*c, *d) = (*c + product_im, *c - product_im);
                }
            }
            half /= 2;
        }
    }

    /// Values in bit-reversed order to coefficients times N `factor`, in place.
    pub fn inverse(&self, x: &mut Complexes, factor: f64) {
        let (mut half, last) = (1, x.re.len() / 2);
        let mut roots = self.inverse.iter();
        while half <= last {
            // SEAL multiplies by the factor on the way through the last stage.
            let scale = (half == last).then_some(factor);
            let blocks = x.re.chunks_exact_mut(2 * half).zip(x.im.chunks_exact_mut(2 * half));
            // Exactly as many roots as blocks are taken: the blocks end first.
            for ((re, im), &(root_re, root_im)) in blocks.zip(roots.by_ref()) {
                let (root_re, root_im) = (root_re * scale.unwrap_or(1.0), root_im * scale.unwrap_or(1.0));
                let ((u_re, v_re), (u_im, v_im)) = (re.split_at_mut(half), im.split_at_mut(half));
                for ((a, b), (c, d)) in u_re.iter_mut().zip(v_re).zip(u_im.iter_mut().zip(v_im)) {
                    let (difference_re, difference_im) = (*a - *b, *c - *d);
                    (*a, *c) = (*a + *b, *c + *d);
                    *b = difference_re * root_re - difference_im * root_im;
                    *d = difference_re * root_im + difference_im * root_re;
                }
            }
            half *= 2;
        }
        for value in x.re[..last].iter_mut().chain(&mut x.im[..last]) {
            *value *= factor;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_the_polynomial_at_the_odd_powers() {
        let degree = 16;
        let fft = Fft::new(degree);
        let coefficients: Vec<f64> = (0..degree).map(|i| (i * i % 7) as f64 - 2.5).collect();
        let mut x = Complexes { re: coefficients.clone(), im: vec![0.0; degree] };
        fft.forward(&mut x);
        for k in 0..degree {
            let at = k.reverse_bits() >> (usize::BITS - 4);
            let angle = |i: usize| PI * ((2 * k + 1) * i) as f64 / degree as f64;
            let re: f64 = coefficients.iter().enumerate().map(|(i, c)| c * angle(i).cos()).sum();
            let im: f64 = coefficients.iter().enumerate().map(|(i, c)| c * angle(i).sin()).sum();
            assert!((x.re[at] - re).abs() < 1e-12 && (x.im[at] - im).abs() < 1e-12);
        }
        fft.inverse(&mut x, 1.0 / degree as f64);
        assert!(x.re.iter().zip(&coefficients).all(|(a, b)| (a - b).abs() < 1e-13));
        assert!(x.im.iter().all(|a| a.abs() < 1e-13));
    }
}
