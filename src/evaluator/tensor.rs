//! The product of ciphertexts as polynomials in the secret key, in NTT form:
//! (a_0 + a_1 s + ...)(b_0 + b_1 s + ...), for each prime and each value.

use std::sync::Arc;

use crate::ring::NttTable;

/// Where the residues of polynomial i modulo prime j stand in `[size][primes][N]`.
fn row(primes: usize, degree: usize, i: usize, j: usize) -> std::ops::Range<usize> {
    let at = (i * primes + j) * degree;
    at..at + degree
}

/// The first three of the rows of one prime.
fn three_rows(primes: usize, degree: usize, j: usize, data: &mut [u64]) -> Option<[&mut [u64]; 3]> {
    let ranges = [0, 1, 2].map(|i| row(primes, degree, i, j));
    data.get_disjoint_mut(ranges).ok()
}

/// The sizes of `[size][primes][N]` operands over the primes of `tables`.
fn shape(tables: &[Arc<NttTable>], data: &[u64]) -> (usize, usize) {
    let degree = tables[0].degree();
    (data.len() / (tables.len() * degree), degree)
}

/// out = a b; out has size_a + size_b - 1 polynomials.
pub(super) fn multiply(tables: &[Arc<NttTable>], out: &mut [u64], a: &[u64], b: &[u64]) {
    let ((size_a, degree), (size_b, _)) = (shape(tables, a), shape(tables, b));
    let primes = tables.len();
    if (size_a, size_b) != (2, 2) {
        out.fill(0);
    }
    for (j, table) in tables.iter().enumerate() {
        let (x, y) = (|i| &a[row(primes, degree, i, j)], |i| &b[row(primes, degree, i, j)]);
        if let ((2, 2), Some(rows)) = ((size_a, size_b), three_rows(primes, degree, j, out)) {
            table.kernels().tensor(rows, [x(0), x(1)], [y(0), y(1)]);
            continue;
        }
        for i in 0..size_a {
            for k in 0..size_b {
                table.kernels().mul_add(&mut out[row(primes, degree, i + k, j)], x(i), y(k));
            }
        }
    }
}

/// out = a^2; out has 2 size_a - 1 polynomials.
pub(super) fn square(tables: &[Arc<NttTable>], out: &mut [u64], a: &[u64]) {
    let (size, degree) = shape(tables, a);
    let primes = tables.len();
    if size != 2 {
        return multiply(tables, out, a, a);
    }
    for (j, table) in tables.iter().enumerate() {
        if let Some(rows) = three_rows(primes, degree, j, out) {
            table.kernels().square(rows, [0, 1].map(|i| &a[row(primes, degree, i, j)]));
        }
    }
}
