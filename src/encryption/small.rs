//! Small secret polynomials, lifted to residues.

use zeroize::Zeroizing;

use super::sampling::Sampler;
use crate::scheme::{Context, Form};

/// A polynomial with small coefficients that must stay secret: an error or the `u` of public-key
/// encryption. Its memory is wiped.
pub(super) struct Small(Zeroizing<Vec<i8>>);

impl Small {
    /// An error polynomial.
    pub fn error(degree: usize, sampler: &mut Sampler) -> Self {
        let mut values = Zeroizing::new(vec![0; degree]);
        sampler.normal(&mut values);
        Self(values)
    }

    /// A polynomial uniform over {-1, 0, 1}.
    pub fn ternary(degree: usize, sampler: &mut Sampler) -> Self {
        let mut values = Zeroizing::new(vec![0; degree]);
        sampler.ternary(&mut values);
        Self(values)
    }

    /// Adds the polynomial to `target`, the residues modulo prime number j in the given form.
    pub fn add_to(&self, context: &Context, j: usize, form: Form, target: &mut [u64]) {
        context.tables()[j].kernels().add_assign(target, &self.residues(context, j, form));
    }

    /// The residues modulo prime number j, in the given form.
    pub fn residues(&self, context: &Context, j: usize, form: Form) -> Zeroizing<Vec<u64>> {
        let q = context.modulus(j).value();
        // Adds q to negative values without a branch.
        let lift = |v: i64| (v as u64).wrapping_add(q & (v >> 63) as u64);
        let mut residues: Zeroizing<Vec<u64>> = Zeroizing::new(self.0.iter().map(|&v| lift(v.into())).collect());
        if form == Form::Ntt {
            context.tables()[j].forward(&mut residues);
        }
        residues
    }
}
