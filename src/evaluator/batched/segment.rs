//! Segments: steps between two rescalings, evaluated tile by tile.

use rayon::prelude::*;

use super::affine::ScalarAffine;
use super::kernel::{self, TILE, Tile};
use super::pass::{Panels, Pass};
use crate::error::{Error, Result};
use crate::evaluator::layer::{check_inputs, spans};
use crate::ring::backend::Backend;
use crate::runtime::Cancellation;
use crate::scheme::{Ciphertext, Context, Form, Scheme};

/// The operation's name in errors.
pub(super) const OPERATION: &str = "batched segment";

/// Residues of one polynomial and prime that one task computes: a kibibyte of each ciphertext.
pub(super) const SPAN: usize = 4 * TILE;

/// One step of a segment.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// weighted sums
    Affine(ScalarAffine),
    /// every value times itself: s polynomials become 2 s - 1 (CKKS)
    Square,
}

/// Steps with no rescaling between them, on ciphertexts that each hold one value of many images.
///
/// Scales and levels are the caller's to plan: a segment multiplies scales (the weights' by an affine
/// map, itself by a square) and leaves the level as it is, so the modulus must have room for the
/// product.
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    inputs: usize,
    outputs: usize,
    steps: Vec<Step>,
}

impl Segment {
    /// A segment for `inputs` ciphertexts.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] where a matrix does not have as many columns as there are values
    /// before it.
    pub fn new(inputs: usize, steps: Vec<Step>) -> Result<Self> {
        let mut outputs = inputs;
        for step in &steps {
            if let Step::Affine(affine) = step {
                let (rows, columns) = (affine.matrix().rows(), affine.matrix().columns());
                if columns != outputs {
                    return Err(Error::ShapeMismatch {
                        operation: OPERATION,
                        expected: format!("a matrix of {outputs} columns, one for each value before it"),
                        got: vec![rows, columns],
                    });
                }
                outputs = rows;
            }
        }
        Ok(Self { inputs, outputs, steps })
    }

    /// The number of ciphertexts that it takes.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// The number of ciphertexts that it makes.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// The steps.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// How many polynomials an output has where an input has `size`.
    pub fn output_size(&self, size: usize) -> usize {
        let squares = self.steps.iter().filter(|step| matches!(step, Step::Square)).count();
        // s - 1 doubles with each square
        (0..squares).fold(size.saturating_sub(1), |degree, _| degree.saturating_mul(2)).saturating_add(1)
    }

    /// Evaluates the segment on the rayon pool of the caller.
    ///
    /// The inputs are of one context, level, form, size and scale; the outputs are of the same level
    /// and form, their scale is `scale`. In coefficient form (BFV) the steps are affine.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for another number of inputs than [`inputs`](Self::inputs) or biases
    /// for another number of primes, [`Error::ParametersMismatch`], [`Error::OperandMismatch`] where
    /// inputs differ, [`Error::Unsupported`] for squares in BFV or coefficient form, or of more than
    /// 16 polynomials, [`Error::InvalidArgument`] for a bias that is not reduced,
    /// [`Error::UnknownBackend`], [`Error::Interrupted`].
    pub fn run(
        &self,
        context: &Context,
        inputs: &[&Ciphertext],
        scale: f64,
        cancellation: &Cancellation,
    ) -> Result<Vec<Ciphertext>> {
        self.run_on(Backend::current()?, context, inputs, scale, cancellation)
    }

    /// [`run`](Self::run) with a backend of the caller's choice.
    ///
    /// # Errors
    /// As for [`run`](Self::run); [`Error::UnknownBackend`] where this machine does not have it.
    pub fn run_on(
        &self,
        backend: Backend,
        context: &Context,
        inputs: &[&Ciphertext],
        scale: f64,
        cancellation: &Cancellation,
    ) -> Result<Vec<Ciphertext>> {
        let first = self.check(context, inputs)?;
        let (primes, form, output_size) = (first.primes(), first.form(), self.output_size(first.size()));
        let mut outputs: Vec<Ciphertext> =
            (0..self.outputs).map(|_| Ciphertext::stale(context, output_size, primes, form, scale)).collect();
        self.run_into(backend, context, inputs, &mut outputs, cancellation)?;
        Ok(outputs)
    }

    /// [`run_on`](Self::run_on) into ciphertexts that exist, whose scale is left as it is: memory that has been used
    /// before is a good deal quicker to write than fresh memory.
    ///
    /// # Errors
    /// As for [`run_on`](Self::run_on); [`Error::ShapeMismatch`] and [`Error::OperandMismatch`] where the outputs are
    /// not [`outputs`](Self::outputs) ciphertexts of the level, form and size that the segment makes.
    pub fn run_into(
        &self,
        backend: Backend,
        context: &Context,
        inputs: &[&Ciphertext],
        outputs: &mut [Ciphertext],
        cancellation: &Cancellation,
    ) -> Result<()> {
        let backend = backend.checked()?;
        let first = self.check(context, inputs)?;
        let (size, primes) = (first.size(), first.primes());
        let output_size = self.output_size(size);
        if outputs.len() != self.outputs {
            return Err(Error::ShapeMismatch {
                operation: OPERATION,
                expected: format!("{} ciphertexts to write to", self.outputs),
                got: vec![outputs.len()],
            });
        }
        let fits =
            |o: &Ciphertext| o.parms_id() == first.parms_id() && o.size() == output_size && o.form() == first.form();
        if let Some(other) = outputs.iter().find(|output| !fits(output)) {
            return Err(Error::OperandMismatch {
                operation: OPERATION,
                what: "the outputs' level, form or size",
                left: format!("{primes} primes, {:?}, {output_size} polynomials", first.form()),
                right: format!("{} primes, {:?}, {} polynomials", other.primes(), other.form(), other.size()),
                remedy: "make the outputs at the inputs' level and form, of the segment's output size",
            });
        }
        let passes = (0..primes).map(|j| Pass::new(self, backend, context, j, first)).collect::<Result<Vec<_>>>()?;

        let degree = context.degree();
        let capacity = passes[0].capacity();
        spans(outputs, SPAN).into_par_iter().enumerate().try_for_each_init(
            || Panels { current: vec![Tile::ZERO; capacity], next: vec![Tile::ZERO; capacity] },
            |panels, (task, mut spans_of_outputs)| {
                cancellation.check()?;
                let (j, start) = (task * SPAN / degree, task * SPAN % degree);
                let places = (0..size).flat_map(|poly| inputs.iter().map(move |input| input.residues(poly, j)));
                let spans_of_inputs: Vec<&[u64]> = places.map(|residues| &residues[start..start + SPAN]).collect();
                passes[j].run(&spans_of_inputs, panels, &mut spans_of_outputs, start == 0);
                kernel::finish_stores();
                Ok(())
            },
        )
    }

    /// Checks the inputs and returns the first.
    fn check<'a>(&self, context: &Context, inputs: &[&'a Ciphertext]) -> Result<&'a Ciphertext> {
        let first = check_inputs(OPERATION, context, inputs, self.inputs)?;
        for input in inputs {
            let differ = |what, left: String, right: String, remedy| {
                Err(Error::OperandMismatch { operation: OPERATION, what, left, right, remedy })
            };
            if input.form() != first.form() {
                let (left, right) = (format!("{:?}", first.form()), format!("{:?}", input.form()));
                return differ("forms", left, right, "transform all to one form");
            }
            if input.scale() != first.scale() {
                return differ("scales", first.scale().to_string(), input.scale().to_string(), "rescale all alike");
            }
        }
        let output_size = self.output_size(first.size());
        if output_size > first.size() && (context.parameters().scheme() != Scheme::Ckks || first.form() != Form::Ntt) {
            return Err(Error::Unsupported {
                operation: OPERATION,
                reason: "squares act on residues alone only in CKKS, in NTT form".into(),
            });
        }
        if output_size > *Ciphertext::SIZES.end() {
            return Err(Error::Unsupported {
                operation: OPERATION,
                reason: format!(
                    "the squares would make {output_size} polynomials of {}; relinearize between them",
                    first.size()
                ),
            });
        }
        Ok(first)
    }
}
