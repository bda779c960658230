//! Fresh symmetric ciphertexts whose second polynomials are given by a seed.

use rayon::prelude::*;

use super::sampling::{Sampler, Seed};
use crate::error::{Error, Result};
use crate::ring::{Modulus, NttTable, Residues};
use crate::scheme::{Ciphertext, Context, Form, ParmsId};

/// Ciphertexts (c0, a) of one level: the c0's, and a seed that gives every a.
///
/// The polynomial a of ciphertext number i is, in NTT form, the output of
/// [`Sampler::uniform`] on stream i of the seed, for one prime after another. The seed is public.
#[derive(Debug, Clone, PartialEq)]
pub struct SeededCiphertexts {
    parms_id: ParmsId,
    primes: usize,
    form: Form,
    scale: f64,
    seed: Seed,
    first_polynomials: Vec<Residues>,
}

impl SeededCiphertexts {
    /// Ciphertexts from their parts: each first polynomial has `[primes][N]` reduced residues.
    pub(super) fn new(
        context: &Context,
        primes: usize,
        form: Form,
        scale: f64,
        seed: Seed,
        first_polynomials: Vec<Residues>,
    ) -> Self {
        Self { parms_id: context.parms_id(primes), primes, form, scale, seed, first_polynomials }
    }

    /// Ciphertexts whose first polynomials are zero, by a seed of zeros: no message is in them, but they take what others do.
    pub fn zeros(context: &Context, primes: usize, form: Form, scale: f64, count: usize) -> Self {
        let polynomial = Residues::zeros(primes * context.degree());
        Self::new(context, primes, form, scale, Seed::default(), vec![polynomial; count])
    }

    /// The number of ciphertexts.
    pub fn len(&self) -> usize {
        self.first_polynomials.len()
    }

    /// Whether there is no ciphertext.
    pub fn is_empty(&self) -> bool {
        self.first_polynomials.is_empty()
    }

    /// SEAL's identity of the parameters at the level of the ciphertexts.
    pub fn parms_id(&self) -> ParmsId {
        self.parms_id
    }

    /// The number of primes of each ciphertext.
    pub fn primes(&self) -> usize {
        self.primes
    }

    /// The form of the first polynomials, and of the expanded ciphertexts.
    pub fn form(&self) -> Form {
        self.form
    }

    /// CKKS's scale; 1 for BFV.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// The public seed.
    pub fn seed(&self) -> &Seed {
        &self.seed
    }

    /// The first polynomials, `[primes][N]` residues each.
    pub fn first_polynomials(&self) -> &[Residues] {
        &self.first_polynomials
    }

    /// Ciphertext number i with its second polynomial written out, in the form asked for.
    ///
    /// # Errors
    /// [`Error::ParametersMismatch`] for another context, [`Error::InvalidArgument`] where there is no
    /// ciphertext i.
    pub fn expand(&self, context: &Context, i: usize, form: Form) -> Result<Ciphertext> {
        if context.primes_of(&self.parms_id) != Some(self.primes) {
            return Err(Error::ParametersMismatch { operation: "expand", object: "seeded ciphertext" });
        }
        let c0 = self.first_polynomials.get(i).ok_or_else(|| Error::InvalidArgument {
            name: "i",
            reason: format!("{i}; there are {} ciphertexts", self.len()),
        })?;
        let mut ciphertext = Ciphertext::stale(context, 2, self.primes, form, self.scale);
        ciphertext.poly_mut(0).copy_from_slice(c0);
        change_form(context, self.form, form, ciphertext.poly_mut(0));
        let moduli: Vec<Modulus> = (0..self.primes).map(|j| context.modulus(j)).collect();
        Sampler::uniform_rows(&self.seed, i as u64, &moduli, ciphertext.poly_mut(1));
        change_form(context, Form::Ntt, form, ciphertext.poly_mut(1));
        Ok(ciphertext)
    }
}

/// Transforms one polynomial over the first primes from one form to another, in parallel on the rayon pool of the caller.
pub(super) fn change_form(context: &Context, from: Form, to: Form, polynomial: &mut [u64]) {
    let transform = match (from, to) {
        (Form::Coefficient, Form::Ntt) => NttTable::forward,
        (Form::Ntt, Form::Coefficient) => NttTable::inverse,
        _ => return,
    };
    let rows = polynomial.par_chunks_exact_mut(context.degree()).zip(context.tables());
    rows.for_each(|(row, table)| transform(table, row));
}
