//! Operations on ciphertexts that need no secret key, for BFV and CKKS.
//!
//! Everything is bit-identical to Microsoft SEAL's evaluator where SEAL defines a result, with two
//! exceptions that decrypt to the same and leave at least SEAL's noise budget: products of two BFV
//! ciphertexts ([`extended`]) and BFV products by a plaintext with one coefficient that stands for
//! a negative number ([`plain`]). SEAL refuses transparent results (a product by zero, `c - c`); here
//! they are ordinary ciphertexts.
//!
//! | module | operations |
//! | --- | --- |
//! | [`arithmetic`] | add, subtract, negate, change the representation |
//! | [`plain`] | add, subtract and multiply by a plaintext |
//! | [`levels`] | modulus switching, rescaling |
//! | [`key_switch`] | relinearization and the inner product behind it |
//! | [`rotate`] | automorphisms: slot rotations, conjugation |
//! | [`batch`] | one operation on many ciphertexts |
//! | [`multiply`] | products of ciphertexts |
//! | [`batched`] | segments of affine maps by integers and squares, on one ciphertext a value of many images |
//! | [`encoded`] | affine maps whose weights are encoded numbers |
//! | [`packed`] | matrices and squares on the slots of one ciphertext, with hoisted rotations |
//! | [`extended`] | the steps of a BFV product, to sum products before the last |

use std::sync::{Arc, OnceLock};

use crate::encryption::PlainScaling;
use crate::error::{Error, Result};
use crate::scheme::{Ciphertext, Context, Form, Scheme};

pub mod arithmetic;
pub mod batch;
pub mod batched;
pub mod encoded;
pub mod extended;
pub mod key_switch;
mod layer;
pub mod levels;
pub mod multiply;
pub mod packed;
pub mod plain;
pub mod rotate;
mod tensor;

use extended::ProductBase;
use levels::DivideByPrime;

/// Evaluates operations on the ciphertexts of one context; it holds no key and can be shared by threads.
#[derive(Debug)]
pub struct Evaluator {
    context: Arc<Context>,
    /// by number of primes, from one prime up
    levels: Vec<Level>,
    /// the primes of the last level: as many as BFV's t needs to be below their product
    last_primes: usize,
    /// division by the key-switching prime, where there is one
    special: Option<DivideByPrime>,
    automorphisms: rotate::Automorphisms,
}

/// What is precomputed for ciphertexts with a given number of primes.
#[derive(Debug)]
struct Level {
    /// division by the last prime; none is left to divide by at the last level
    last: Option<DivideByPrime>,
    /// division by the last prime and the key-switching prime at once, where there are both
    pair: Option<packed::division::DivideByPair>,
    /// BFV's factor q/t
    scaling: Option<PlainScaling>,
    /// BFV's auxiliary base for products, made when first needed
    product: OnceLock<Arc<ProductBase>>,
}

impl Evaluator {
    /// Precomputes the constants of a context.
    pub fn new(context: Arc<Context>) -> Self {
        let levels = (1..=context.data_primes())
            .map(|primes| Level {
                last: (primes > 1).then(|| DivideByPrime::new(&context, primes - 1, primes - 1)),
                pair: (primes > 1 && context.parameters().key_switching())
                    .then(|| packed::division::DivideByPair::new(&context, primes)),
                scaling: PlainScaling::new(&context, primes),
                product: OnceLock::new(),
            })
            .collect();
        let special = context
            .parameters()
            .key_switching()
            .then(|| DivideByPrime::new(&context, context.key_primes() - 1, context.data_primes()));
        let plain_modulus = context.parameters().plain_modulus();
        let last_primes = (1..context.data_primes())
            .find(|&primes| modulus_product(&context, primes) > plain_modulus.into())
            .unwrap_or(context.data_primes());
        Self { context, levels, last_primes, special, automorphisms: Default::default() }
    }

    /// The context whose ciphertexts this evaluator takes.
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    fn scheme(&self) -> Scheme {
        self.context.parameters().scheme()
    }

    fn level(&self, primes: usize) -> &Level {
        &self.levels[primes - 1]
    }

    /// A ciphertext of this context, at a level that carries data.
    fn check(&self, operation: &'static str, ciphertext: &Ciphertext) -> Result<()> {
        let known = ciphertext.degree() == self.context.degree()
            && self.context.primes_of(&ciphertext.parms_id()) == Some(ciphertext.primes())
            && ciphertext.primes() <= self.context.data_primes();
        if known { Ok(()) } else { Err(Error::ParametersMismatch { operation, object: "ciphertext" }) }
    }

    /// Two ciphertexts of this context at the same level and in the same form.
    fn check_pair(&self, operation: &'static str, a: &Ciphertext, b: &Ciphertext) -> Result<()> {
        self.check(operation, a)?;
        self.check(operation, b)?;
        if a.primes() != b.primes() {
            return Err(Error::OperandMismatch {
                operation,
                what: "levels",
                left: format!("{} primes", a.primes()),
                right: format!("{} primes", b.primes()),
                remedy: "switch the one with more primes down to the other's level first",
            });
        }
        if a.form() != b.form() {
            return Err(Error::OperandMismatch {
                operation,
                what: "representations",
                left: format!("{:?}", a.form()),
                right: format!("{:?}", b.form()),
                remedy: "transform one of them to the other's form first",
            });
        }
        Ok(())
    }

    /// Equal scales, up to rounding in the last place (SEAL's `are_close`).
    fn check_scales(&self, operation: &'static str, left: f64, right: f64) -> Result<()> {
        if (left - right).abs() < f64::EPSILON * left.abs().max(right.abs()).max(1.0) {
            return Ok(());
        }
        Err(Error::OperandMismatch {
            operation,
            what: "scales",
            left: left.to_string(),
            right: right.to_string(),
            remedy: "rescale both the same number of times, or encode with the scale of the other operand",
        })
    }

    /// The form that most operations of this scheme work on: coefficients for BFV, values for CKKS.
    fn working_form(&self) -> Form {
        match self.scheme() {
            Scheme::Bfv => Form::Coefficient,
            Scheme::Ckks => Form::Ntt,
        }
    }

    fn check_form(&self, operation: &'static str, ciphertext: &Ciphertext) -> Result<()> {
        let wanted = self.working_form();
        if ciphertext.form() == wanted {
            return Ok(());
        }
        Err(Error::OperandMismatch {
            operation,
            what: "representations",
            left: format!("{:?}", ciphertext.form()),
            right: format!("{wanted:?}"),
            remedy: "BFV works on coefficient form, CKKS on NTT form: transform the ciphertext first",
        })
    }

    /// CKKS's scale after an operation must stay below the modulus of its level (SEAL's bound).
    fn check_scale(&self, operation: &'static str, scale: f64, primes: usize) -> Result<()> {
        let bits = modulus_bits(&self.context, primes);
        if self.scheme() == Scheme::Bfv || (scale > 0.0 && (scale.log2() as i64) < bits as i64) {
            return Ok(());
        }
        Err(Error::ScaleOutOfRange {
            operation,
            reason: format!(
                "the scale 2^{:.1} does not fit a {bits}-bit modulus; rescale earlier or encode with a smaller scale",
                scale.log2()
            ),
        })
    }
}

/// The product of the first `primes` primes.
fn modulus_product(context: &Context, primes: usize) -> num_bigint::BigUint {
    context.parameters().moduli()[..primes].iter().map(|&q| num_bigint::BigUint::from(q)).product()
}

fn modulus_bits(context: &Context, primes: usize) -> u64 {
    modulus_product(context, primes).bits()
}
