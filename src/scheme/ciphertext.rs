//! Ciphertexts: two or more polynomials over the primes of a level.

use super::context::Context;
use super::parameters::ParmsId;
use crate::ring::Residues;

/// How a polynomial is represented.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// by its coefficients
    Coefficient,
    /// by its values at the roots of unity, in SEAL's order
    Ntt,
}

/// A ciphertext: `size` polynomials, each given by its residues modulo each of `primes` primes.
///
/// The data is laid out as SEAL's: `[size][primes][N]`, every residue in `[0, q_j)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Ciphertext {
    parms_id: ParmsId,
    degree: usize,
    size: usize,
    primes: usize,
    form: Form,
    scale: f64,
    data: Residues,
}

impl Ciphertext {
    /// The smallest and largest number of polynomials (SEAL's limits).
    pub const SIZES: std::ops::RangeInclusive<usize> = 2..=16;

    /// A ciphertext of zeros at the level with `primes` primes (a valid, transparent encryption of zero).
    pub fn zero(context: &Context, size: usize, primes: usize, form: Form, scale: f64) -> Self {
        let degree = context.degree();
        Self {
            parms_id: context.parms_id(primes),
            degree,
            size,
            primes,
            form,
            scale,
            data: Residues::zeros(size * primes * degree),
        }
    }

    /// A ciphertext whose residues are of no particular value, for results that overwrite all of them.
    pub fn stale(context: &Context, size: usize, primes: usize, form: Form, scale: f64) -> Self {
        let degree = context.degree();
        let data = Residues::stale(size * primes * degree);
        Self { parms_id: context.parms_id(primes), degree, size, primes, form, scale, data }
    }

    /// A ciphertext around existing residues; `None` where their number is not size x primes x N.
    /// The residues must be reduced.
    pub fn from_data(
        context: &Context,
        size: usize,
        primes: usize,
        form: Form,
        scale: f64,
        data: Residues,
    ) -> Option<Self> {
        let degree = context.degree();
        (data.len() == size * primes * degree).then(|| Self {
            parms_id: context.parms_id(primes),
            degree,
            size,
            primes,
            form,
            scale,
            data,
        })
    }

    /// SEAL's identity of the parameters at this level.
    pub fn parms_id(&self) -> ParmsId {
        self.parms_id
    }

    /// The polynomial degree N.
    pub fn degree(&self) -> usize {
        self.degree
    }

    /// The number of polynomials: 2 when fresh, 3 after a square that was not relinearised.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The number of primes left.
    pub fn primes(&self) -> usize {
        self.primes
    }

    /// Coefficient form (BFV's usual one) or NTT form (CKKS's).
    pub fn form(&self) -> Form {
        self.form
    }

    /// CKKS's scale; 1 for BFV.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// Sets CKKS's scale: the caller says what the numbers mean.
    pub fn set_scale(&mut self, scale: f64) {
        self.scale = scale;
    }

    /// Declares the representation; the data is left as it is.
    pub fn set_form(&mut self, form: Form) {
        self.form = form;
    }

    /// All residues.
    pub fn data(&self) -> &[u64] {
        &self.data
    }

    /// All residues, to change.
    pub fn data_mut(&mut self) -> &mut [u64] {
        &mut self.data
    }

    /// Polynomial i: `primes` x N residues.
    pub fn poly(&self, i: usize) -> &[u64] {
        let len = self.primes * self.degree;
        &self.data[i * len..(i + 1) * len]
    }

    /// Polynomial i, to change.
    pub fn poly_mut(&mut self, i: usize) -> &mut [u64] {
        let len = self.primes * self.degree;
        &mut self.data[i * len..(i + 1) * len]
    }

    /// The N residues of polynomial i modulo prime j.
    pub fn residues(&self, i: usize, j: usize) -> &[u64] {
        let at = (i * self.primes + j) * self.degree;
        &self.data[at..at + self.degree]
    }

    /// The N residues of polynomial i modulo prime j, to change.
    pub fn residues_mut(&mut self, i: usize, j: usize) -> &mut [u64] {
        let at = (i * self.primes + j) * self.degree;
        &mut self.data[at..at + self.degree]
    }
}
