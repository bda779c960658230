//! What the steps of a packed program cost, counted in transforms and rows.

use std::ops::{Add, AddAssign};

/// Seconds of the two operations that everything consists of, for one polynomial modulo one prime.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// one number-theoretic transform
    pub transform: f64,
    /// one pass over a row: a multiplication and addition, a permutation
    pub row: f64,
}

/// Work, in units of [`Rates`], and the keys it needs.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Work {
    /// number-theoretic transforms
    pub transforms: usize,
    /// passes over a row
    pub rows: usize,
    /// rotation keys, in rows: digits times primes
    pub key_rows: usize,
}

impl Work {
    /// Seconds at these rates.
    pub fn seconds(self, rates: Rates) -> f64 {
        self.transforms as f64 * rates.transform + self.rows as f64 * rates.row
    }

    /// The digits of a polynomial with `l` primes, modulo those and the special prime.
    fn digits(l: usize) -> Self {
        Self { transforms: l + l * l, rows: l * l, key_rows: 0 }
    }

    /// The inner product of digits with a key, its permutation included.
    fn inner_product(l: usize) -> Self {
        Self { transforms: 0, rows: 2 * l * (l + 1) + 3 * (l + 1), key_rows: l * (l + 1) }
    }

    /// Division of both polynomials by `count` primes, `left` of them left.
    fn division(left: usize, count: usize) -> Self {
        Self { transforms: 2 * (count + left), rows: 4 * left, key_rows: 0 }
    }

    /// A linear transform of a ciphertext with `l` primes, by the rotations that it takes.
    pub fn linear(l: usize, diagonals: usize, babies: usize, giants: usize) -> Self {
        let rows = if babies + giants > 0 { 2 * (l + 1) } else { 2 * l };
        let mut work = Self { rows: diagonals * rows, ..Self::default() };
        if babies > 0 {
            work += Self::digits(l);
        }
        work += Self::inner_product(l).times(babies);
        // The sum of a giant is divided in coefficient form, so its digits are at hand.
        let giant = Self { transforms: l + 1, rows: 2 * l, key_rows: 0 };
        work +=
            (giant + Self { transforms: l * (l + 1), rows: l * l, key_rows: 0 } + Self::inner_product(l)).times(giants);
        work + Self::division(l - 1, if babies + giants > 0 { 2 } else { 1 })
    }

    /// The sum of `rotations` rotations of a ciphertext with `l` primes.
    pub fn sum(l: usize, rotations: usize) -> Self {
        Self::digits(l) + Self::inner_product(l).times(rotations) + Self::division(l, 1)
    }

    /// A square, relinearised and rescaled.
    pub fn square(l: usize) -> Self {
        Self { rows: 3 * l, ..Self::default() } + Self::digits(l) + Self::inner_product(l) + Self::division(l - 1, 2)
    }

    fn times(self, count: usize) -> Self {
        Self { transforms: self.transforms * count, rows: self.rows * count, key_rows: self.key_rows * count }
    }
}

impl Add for Work {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            transforms: self.transforms + other.transforms,
            rows: self.rows + other.rows,
            key_rows: self.key_rows + other.key_rows,
        }
    }
}

impl AddAssign for Work {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}
