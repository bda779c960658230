//! Division by the last prime, with which public-key encryption ends.

use crate::ring::Residues;
use crate::scheme::{Context, Form};

/// Divides a polynomial over `primes + 1` primes by the last of them, rounding to nearest, in place:
/// the first `primes` rows hold the result. As SEAL's `divide_and_round_q_last_inplace` and its NTT variant.
pub(super) fn divide_by_last(context: &Context, primes: usize, form: Form, polynomial: &mut [u64]) {
    let degree = context.degree();
    let (rows, last) = polynomial.split_at_mut(primes * degree);
    let q_last = context.modulus(primes);
    if form == Form::Ntt {
        context.tables()[primes].inverse(last);
    }
    let half = q_last.value() / 2;
    context.tables()[primes].kernels().add_scalar_assign(last, half);
    let mut remainder = Residues::zeros(degree);
    for (table, row) in context.tables().iter().zip(rows.chunks_exact_mut(degree)) {
        let (q, kernels) = (table.modulus(), table.kernels());
        kernels.reduce(&mut remainder, last);
        kernels.add_scalar_assign(&mut remainder, q.neg(q.reduce(half)));
        if form == Form::Ntt {
            table.forward(&mut remainder);
        }
        // Distinct primes are coprime: the inverse exists.
        let inverse = q.inv(q_last.value()).unwrap_or_default();
        kernels.sub_mul_scalar_assign(row, &remainder, inverse);
    }
}
