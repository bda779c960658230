//! What the steps of a packed program cost, counted in transforms and rows.

use std::ops::{Add, AddAssign};

/// Seconds of the operations that everything consists of, for one polynomial modulo one prime.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rates {
    /// one number-theoretic transform
    pub transform: f64,
    /// one pass over a row in a cache: an addition, a reduction, a permutation
    pub row: f64,
    /// two rows of a key, multiplied by a digit and added: they come from memory
    pub key: f64,
    /// one row of a diagonal, multiplied by both polynomials of a ciphertext and added: it comes from memory
    pub weight: f64,
}

impl Rates {
    /// Rates of a machine that takes `factor` times as long.
    pub fn times(self, factor: f64) -> Self {
        Self {
            transform: self.transform * factor,
            row: self.row * factor,
            key: self.key * factor,
            weight: self.weight * factor,
        }
    }
}

/// Work, in units of [`Rates`], and the keys it needs.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Work {
    /// number-theoretic transforms
    pub transforms: usize,
    /// passes over a row
    pub rows: usize,
    /// pairs of rows of keys: digits times primes
    pub key_rows: usize,
    /// rows of diagonals
    pub weight_rows: usize,
}

impl Work {
    /// Seconds at these rates.
    pub fn seconds(self, rates: Rates) -> f64 {
        self.transforms as f64 * rates.transform
            + self.rows as f64 * rates.row
            + self.key_rows as f64 * rates.key
            + self.weight_rows as f64 * rates.weight
    }

    /// The digits of a polynomial with `l` primes, modulo those and the special prime.
    fn digits(l: usize) -> Self {
        Self { transforms: l + l * l, rows: l * (2 * l + 3), ..Self::default() }
    }

    /// The inner product of digits with a key, its permutation and what is added to it included.
    fn inner_product(l: usize) -> Self {
        Self { rows: 3 * l + 2, key_rows: l * (l + 1), ..Self::default() }
    }

    /// Division of both polynomials by `count` primes, `left` of them left.
    fn division(left: usize, count: usize) -> Self {
        Self { transforms: 2 * (count + left), rows: 2 * (2 * count + 1) * left + 8, ..Self::default() }
    }

    /// A linear transform of a ciphertext with `l` primes, by the rotations that it takes.
    pub fn linear(l: usize, diagonals: usize, babies: usize, giants: usize) -> Self {
        let mut work = Self { rows: 4 * l + 2, weight_rows: diagonals * (l + 1), ..Self::default() };
        if babies > 0 {
            work += Self::digits(l);
        }
        work += Self::inner_product(l).times(babies);
        // The sum of a giant is divided in coefficient form, so its digits are at hand.
        let own = Self { transforms: (l + 1) * (l + 1), rows: l * (2 * l + 8) + 4, ..Self::default() };
        work += (own + Self::inner_product(l)).times(giants);
        work + Self::division(l - 1, 2)
    }

    /// The sum of `rotations` rotations of a ciphertext with `l` primes.
    pub fn sum(l: usize, rotations: usize) -> Self {
        let each = Self::inner_product(l) + Self { rows: 2 * (l + 1), ..Self::default() };
        Self::digits(l) + each.times(rotations) + Self::division(l, 1)
    }

    /// A square, relinearised and rescaled.
    pub fn square(l: usize) -> Self {
        Self { rows: 6 * l, ..Self::default() } + Self::digits(l) + Self::inner_product(l) + Self::division(l - 1, 2)
    }

    fn times(self, count: usize) -> Self {
        Self {
            transforms: self.transforms * count,
            rows: self.rows * count,
            key_rows: self.key_rows * count,
            weight_rows: self.weight_rows * count,
        }
    }
}

impl Add for Work {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            transforms: self.transforms + other.transforms,
            rows: self.rows + other.rows,
            key_rows: self.key_rows + other.key_rows,
            weight_rows: self.weight_rows + other.weight_rows,
        }
    }
}

impl AddAssign for Work {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}
