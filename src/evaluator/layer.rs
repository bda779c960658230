//! What all evaluations of a layer share: its inputs must belong together, and its outputs are written span by span.

use crate::error::{Error, Result};
use crate::scheme::{Ciphertext, Context};

/// The first of a layer's inputs, of which there must be `count`, of one level and size.
///
/// # Errors
/// [`Error::ShapeMismatch`] for another number of inputs or none, [`Error::ParametersMismatch`],
/// [`Error::OperandMismatch`] where inputs differ.
pub(super) fn check_inputs<'a>(
    operation: &'static str,
    context: &Context,
    inputs: &[&'a Ciphertext],
    count: usize,
) -> Result<&'a Ciphertext> {
    let (Some(first), true) = (inputs.first(), inputs.len() == count) else {
        return Err(Error::ShapeMismatch {
            operation,
            expected: format!("{count} ciphertexts, and at least one"),
            got: vec![inputs.len()],
        });
    };
    for input in inputs {
        if context.primes_of(&input.parms_id()) != Some(input.primes()) || input.degree() != context.degree() {
            return Err(Error::ParametersMismatch { operation, object: "ciphertext" });
        }
        for (what, left, right, remedy) in [
            ("levels", first.primes(), input.primes(), "switch all to the lowest level"),
            ("sizes", first.size(), input.size(), "relinearize all or none"),
        ] {
            if left != right {
                let (left, right) = (left.to_string(), right.to_string());
                return Err(Error::OperandMismatch { operation, what, left, right, remedy });
            }
        }
    }
    Ok(first)
}

/// The residues of ciphertexts of one level and size, cut into spans of `len`: one task for each span of a polynomial
/// over all primes, in order, which holds that span of every polynomial, ordered `[ciphertext][polynomial]`.
pub(super) fn spans(ciphertexts: &mut [Ciphertext], len: usize) -> Vec<Vec<&mut [u64]>> {
    let Some(first) = ciphertexts.first() else { return Vec::new() };
    let polynomial = first.poly(0).len();
    let (count, polynomials) = (polynomial / len, ciphertexts.len() * first.size());
    let mut tasks: Vec<Vec<&mut [u64]>> = (0..count).map(|_| Vec::with_capacity(polynomials)).collect();
    for ciphertext in ciphertexts {
        for residues in ciphertext.data_mut().chunks_exact_mut(polynomial) {
            for (task, span) in tasks.iter_mut().zip(residues.chunks_exact_mut(len)) {
                task.push(span);
            }
        }
    }
    tasks
}
