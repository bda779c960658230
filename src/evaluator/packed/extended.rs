//! Polynomials modulo the primes of a level and the key-switching prime: what key switching works in.

use rayon::prelude::*;

use super::division::DivideByPair;
use super::keys::ReadyKey;
use crate::error::Result;
use crate::evaluator::Evaluator;
use crate::evaluator::levels::DivideByPrime;
use crate::ring::{Modulus, NttTable, Residues, Word};
use crate::scheme::{Ciphertext, Form};

/// Two polynomials over `primes` data primes and the key-switching prime, in NTT form, prime by prime:
/// `[primes + 1][2][N]`.
pub(super) struct Extended {
    pub primes: usize,
    degree: usize,
    pub data: Residues,
}

/// The two rows of one prime.
pub(super) type Pair<'a> = [&'a mut [u64]; 2];

/// Splits `[2][N]`.
pub(super) fn pair(rows: &mut [u64]) -> Pair<'_> {
    let (first, second) = rows.split_at_mut(rows.len() / 2);
    [first, second]
}

impl Extended {
    /// Polynomials of no particular value.
    pub fn stale(primes: usize, degree: usize) -> Self {
        Self { primes, degree, data: Residues::stale((primes + 1) * 2 * degree) }
    }

    /// The rows of each prime, in parallel.
    pub fn par_rows(&mut self) -> impl IndexedParallelIterator<Item = (usize, Pair<'_>)> {
        self.data.par_chunks_exact_mut(2 * self.degree).map(pair).enumerate()
    }

    /// The rows of one prime.
    pub fn rows(&self, i: usize) -> [&[u64]; 2] {
        let (first, second) = self.data[i * 2 * self.degree..(i + 1) * 2 * self.degree].split_at(self.degree);
        [first, second]
    }
}

/// The residues of a polynomial as digits, for the inner products of key switching.
///
/// They are balanced: digit j lies between -q_j / 2 and q_j / 2. Digits from 0 to q_j have a mean, a polynomial with equal
/// coefficients, whose value in slot 0 is sqrt(N) times as large as that of noise, and would carry the key's noise there.
pub(super) struct Digits<'a> {
    /// the polynomial in NTT form, where that is at hand: digit j modulo prime j
    own: Option<&'a [u64]>,
    /// in coefficient form, digit j moved up by half of `moduli[j]`
    coefficients: Residues,
    moduli: Vec<Modulus>,
    degree: usize,
}

impl<'a> Digits<'a> {
    /// The digits of a polynomial in NTT form, `[primes][N]`.
    pub fn new(evaluator: &Evaluator, polynomial: &'a [u64]) -> Self {
        let degree = evaluator.context.degree();
        let mut coefficients = Residues::from_slice(polynomial);
        let tables = evaluator.context.tables();
        coefficients.par_chunks_exact_mut(degree).zip(tables).for_each(|(row, table)| table.inverse(row));
        Self { own: Some(polynomial), ..Self::of_coefficients(evaluator, coefficients) }
    }

    /// The digits of a polynomial in coefficient form, `[primes][N]`.
    pub fn of_coefficients(evaluator: &Evaluator, mut coefficients: Residues) -> Self {
        let degree = evaluator.context.degree();
        let tables = &evaluator.context.tables()[..coefficients.len() / degree];
        coefficients.par_chunks_exact_mut(degree).zip(tables).for_each(|(row, table)| {
            table.kernels().add_scalar_assign(row, table.modulus().value() / 2);
        });
        let moduli = tables.iter().map(|table| table.modulus()).collect();
        Self { own: None, coefficients, moduli, degree }
    }

    /// Each digit modulo prime number `i` of a level (or the key-switching prime, after them), in NTT form: each in a buffer
    /// of its own, as rows one at the end of the other would share their places in the caches.
    pub fn modulo(&self, i: usize, table: &NttTable) -> Vec<Residues> {
        // In parallel again within what is done for each prime: there are few primes, and seldom a multiple of the threads.
        let rows = self.coefficients.par_chunks_exact(self.degree).enumerate();
        let digit = |(j, coefficients): (usize, &[u64])| match self.own {
            Some(own) if i == j => Residues::from_slice(&own[j * self.degree..(j + 1) * self.degree]),
            _ => {
                let (modulus, from) = (table.modulus(), self.moduli[j]);
                let minus_half = modulus.neg(modulus.reduce(from.value() / 2));
                let mut digit = Residues::stale(self.degree);
                table.forward_from(&mut digit, coefficients, from, minus_half);
                digit
            }
        };
        rows.map(digit).collect()
    }
}

impl Evaluator {
    /// The table of prime number `i` of a level with `primes` primes; the key-switching prime comes after them.
    pub(super) fn extended_table(&self, i: usize, primes: usize) -> &NttTable {
        let tables = self.context.tables();
        if i < primes { &tables[i] } else { &tables[tables.len() - 1] }
    }

    /// The inner product of digits modulo prime number `i` with a key.
    pub(super) fn inner_product(&self, i: usize, digits: &[Residues], key: &ReadyKey, out: Pair<'_>) {
        if key.is_narrow(i, digits.len()) {
            self.inner_product_of::<u32>(i, digits, key, out);
        } else {
            self.inner_product_of::<u64>(i, digits, key, out);
        }
    }

    fn inner_product_of<W: Word>(&self, i: usize, digits: &[Residues], key: &ReadyKey, out: Pair<'_>) {
        let primes = digits.len();
        let keys: Vec<[&[W]; 2]> = (0..primes).map(|j| key.pair(j, i, primes)).collect();
        let digits: Vec<&[u64]> = digits.iter().map(|digit| &digit[..]).collect();
        self.extended_table(i, primes).kernels().inner_products(out, &digits, &keys);
    }

    /// out += P c modulo prime number `i` of a level; modulo P itself nothing.
    pub(super) fn add_lifted(&self, i: usize, out: &mut [u64], c: &Ciphertext, part: usize) {
        if i < c.primes() {
            let special = self.context.modulus(self.context.key_primes() - 1).value();
            let kernels = self.context.tables()[i].kernels();
            kernels.mul_scalar_add(out, c.residues(part, i), kernels.modulus().reduce(special));
        }
    }

    /// Both polynomials divided by the key-switching prime.
    pub(super) fn divide_by_special(&self, division: &DivideByPrime, sum: &Extended, scale: f64) -> Ciphertext {
        let degree = self.context.degree();
        let mut quotient = Ciphertext::stale(&self.context, 2, sum.primes, Form::Ntt, scale);
        let mut last = Residues::stale(2 * degree);
        last.par_chunks_exact_mut(degree).enumerate().for_each(|(part, last)| {
            last.copy_from_slice(sum.rows(sum.primes)[part]);
            division.round(last, Form::Ntt);
        });
        quotient.data_mut().par_chunks_exact_mut(degree).enumerate().for_each(|(row, out)| {
            let (part, j) = (row / sum.primes, row % sum.primes);
            let last = &last[part * degree..(part + 1) * degree];
            division.divide(j, Form::Ntt, out, sum.rows(j)[part], last, None);
        });
        quotient
    }

    /// Both polynomials divided by the key-switching prime and the last prime.
    pub(super) fn divide_by_pair(&self, division: &DivideByPair, sum: &Extended, scale: f64) -> Ciphertext {
        let degree = self.context.degree();
        let left = sum.primes - 1;
        let mut quotient = Ciphertext::stale(&self.context, 2, left, Form::Ntt, scale);
        let mut remainders = Residues::stale(4 * degree);
        remainders.par_chunks_exact_mut(2 * degree).enumerate().for_each(|(part, rows)| {
            let [special, last] = pair(rows);
            special.copy_from_slice(sum.rows(sum.primes)[part]);
            last.copy_from_slice(sum.rows(left)[part]);
            division.remainder(special, last);
        });
        quotient.data_mut().par_chunks_exact_mut(degree).enumerate().for_each(|(row, out)| {
            let (part, j) = (row / left, row % left);
            let (special, last) = remainders[part * 2 * degree..(part + 1) * 2 * degree].split_at(degree);
            division.divide(j, out, sum.rows(j)[part], special, last);
        });
        quotient
    }

    /// What packed operations divide by at a level.
    pub(super) fn pair_division(&self, operation: &'static str, primes: usize) -> Result<&DivideByPair> {
        let exhausted = crate::error::Error::LevelExhausted { operation, needed: 1, available: 0 };
        self.level(primes).pair.as_ref().ok_or(exhausted)
    }
}
