//! Segments: steps between two rescalings, evaluated tile by tile.

use std::mem;

use rayon::prelude::*;

use super::accumulate::{Prime, Products};
use super::kernel::{self, TILE, Tile};
use super::matrix::{BLOCK_ROWS, Block, ScalarMatrix};
use crate::error::{Error, Result};
use crate::ring::backend::Backend;
use crate::runtime::Cancellation;
use crate::scheme::{Ciphertext, Context, Form, Scheme};

/// The operation's name in errors.
const OPERATION: &str = "batched segment";

/// Residues of one polynomial and prime that one task computes: a kibibyte of each ciphertext.
const SPAN: usize = 4 * TILE;

/// An affine map with integer weights.
#[derive(Debug, Clone, PartialEq)]
pub struct ScalarAffine {
    matrix: ScalarMatrix,
    bias: Vec<u64>,
}

impl ScalarAffine {
    /// A linear map.
    pub fn linear(matrix: ScalarMatrix) -> Self {
        Self { matrix, bias: Vec::new() }
    }

    /// A map that adds a constant to each output: the constant polynomial with residues
    /// `bias[output][prime]`, for every prime of the ciphertexts that the map will be given.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] where `bias` is not `[matrix.rows()][primes]` with at least one prime.
    pub fn new(matrix: ScalarMatrix, bias: Vec<u64>) -> Result<Self> {
        let rows = matrix.rows();
        if rows > 0 && (bias.is_empty() || !bias.len().is_multiple_of(rows)) {
            return Err(Error::ShapeMismatch {
                operation: "affine map",
                expected: format!("a residue of each prime for each of {rows} biases"),
                got: vec![bias.len()],
            });
        }
        Ok(Self { matrix, bias })
    }

    /// The weights.
    pub fn matrix(&self) -> &ScalarMatrix {
        &self.matrix
    }

    /// The balanced biases of one of `primes` primes, one for each row.
    fn balanced_bias(&self, prime: &Prime, j: usize, primes: usize) -> Result<Vec<i64>> {
        let rows = self.matrix.rows();
        if self.bias.is_empty() {
            return Ok(vec![0; rows]);
        }
        if self.bias.len() != rows * primes {
            return Err(Error::ShapeMismatch {
                operation: OPERATION,
                expected: format!("biases of shape {:?}", [rows, primes]),
                got: vec![self.bias.len()],
            });
        }
        let column = self.bias.iter().skip(j).step_by(primes);
        column
            .map(|&residue| {
                if residue < prime.modulus.value() {
                    Ok(prime.balance(residue))
                } else {
                    Err(Error::InvalidArgument {
                        name: "bias",
                        reason: format!("{residue} is not a residue modulo {}", prime.modulus.value()),
                    })
                }
            })
            .collect()
    }
}

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
                let (rows, columns) = (affine.matrix.rows(), affine.matrix.columns());
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

        // The spans of all outputs, by prime and position: one task writes those of one place.
        let spans = context.degree() / SPAN;
        let mut tasks: Vec<Vec<&mut [u64]>> =
            (0..primes * spans).map(|_| Vec::with_capacity(self.outputs * output_size)).collect();
        for output in outputs {
            for (i, span) in output.data_mut().chunks_exact_mut(SPAN).enumerate() {
                tasks[i % (primes * spans)].push(span);
            }
        }
        let capacity = passes[0].capacity();
        tasks.into_par_iter().enumerate().try_for_each_init(
            || Panels { current: vec![Tile::ZERO; capacity], next: vec![Tile::ZERO; capacity] },
            |panels, (task, mut spans_of_outputs)| {
                cancellation.check()?;
                let (j, start) = (task / spans, task % spans * SPAN);
                let places = (0..size).flat_map(|poly| inputs.iter().map(move |input| input.residues(poly, j)));
                let spans_of_inputs: Vec<&[u64]> = places.map(|residues| &residues[start..start + SPAN]).collect();
                for offset in (0..SPAN).step_by(TILE) {
                    passes[j].run(&spans_of_inputs, panels, &mut spans_of_outputs, offset, start + offset == 0);
                }
                kernel::finish_stores();
                Ok(())
            },
        )
    }

    /// Checks the inputs and returns the first.
    fn check<'a>(&self, context: &Context, inputs: &[&'a Ciphertext]) -> Result<&'a Ciphertext> {
        let (Some(first), true) = (inputs.first(), inputs.len() == self.inputs) else {
            return Err(Error::ShapeMismatch {
                operation: OPERATION,
                expected: format!("{} ciphertexts, and at least one", self.inputs),
                got: vec![inputs.len()],
            });
        };
        if context.primes_of(&first.parms_id()) != Some(first.primes()) || first.degree() != context.degree() {
            return Err(Error::ParametersMismatch { operation: OPERATION, object: "ciphertext" });
        }
        for input in inputs {
            let differ = |what, left: String, right: String, remedy| {
                Err(Error::OperandMismatch { operation: OPERATION, what, left, right, remedy })
            };
            if input.parms_id() != first.parms_id() {
                return match context.primes_of(&input.parms_id()) {
                    None => Err(Error::ParametersMismatch { operation: OPERATION, object: "ciphertext" }),
                    Some(primes) => differ(
                        "levels",
                        first.primes().to_string(),
                        primes.to_string(),
                        "switch all to the lowest level",
                    ),
                };
            }
            if input.size() != first.size() {
                return differ("sizes", first.size().to_string(), input.size().to_string(), "relinearize all or none");
            }
            if input.form() != first.form() {
                return differ(
                    "forms",
                    format!("{:?}", first.form()),
                    format!("{:?}", input.form()),
                    "transform all to one form",
                );
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

/// Two panels that a task works in: `[polynomial][value]` tiles.
struct Panels {
    current: Vec<Tile>,
    next: Vec<Tile>,
}

/// A segment prepared for one prime.
struct Pass<'a> {
    backend: Backend,
    prime: Prime,
    form: Form,
    /// the inputs' number and size
    values: usize,
    size: usize,
    stages: Vec<Stage<'a>>,
}

/// What is done in one sweep over a panel.
enum Stage<'a> {
    /// a block of sums after another, each squared at once where a square follows
    Affine { matrix: &'a ScalarMatrix, products: Vec<Products>, bias: Vec<i64>, squared: bool },
    /// a square that follows no affine map
    Square,
}

impl<'a> Pass<'a> {
    fn new(segment: &'a Segment, backend: Backend, context: &Context, j: usize, input: &Ciphertext) -> Result<Self> {
        let prime = Prime::new(context.modulus(j));
        let backend = kernel::serving(backend, &prime);
        let mut stages: Vec<Stage<'a>> = Vec::new();
        for step in &segment.steps {
            match (step, stages.last_mut()) {
                (Step::Square, Some(Stage::Affine { squared: squared @ false, .. })) => *squared = true,
                (Step::Square, _) => stages.push(Stage::Square),
                (Step::Affine(affine), _) => stages.push(Stage::Affine {
                    matrix: &affine.matrix,
                    products: affine.matrix.blocks().map(|block| kernel::products(backend, block, &prime)).collect(),
                    bias: affine.balanced_bias(&prime, j, input.primes())?,
                    squared: false,
                }),
            }
        }
        Ok(Self { backend, prime, form: input.form(), values: segment.inputs, size: input.size(), stages })
    }

    /// Values and polynomials after a stage that gets `values` values of `size` polynomials.
    fn shape_after(stage: &Stage<'_>, values: usize, size: usize) -> (usize, usize) {
        match stage {
            Stage::Affine { matrix, squared: false, .. } => (matrix.rows(), size),
            Stage::Affine { matrix, squared: true, .. } => (matrix.rows(), 2 * size - 1),
            Stage::Square => (values, 2 * size - 1),
        }
    }

    /// The number of blocks of all affine maps.
    fn blocks(&self) -> usize {
        let blocks = |stage: &Stage<'_>| if let Stage::Affine { products, .. } = stage { products.len() } else { 0 };
        self.stages.iter().map(blocks).sum()
    }

    /// The number of tiles of the largest panel.
    fn capacity(&self) -> usize {
        let (mut values, mut size) = (self.values, self.size);
        let mut capacity = values * size;
        for stage in &self.stages {
            (values, size) = Self::shape_after(stage, values, size);
            capacity = capacity.max(values * size);
        }
        capacity
    }

    /// Takes one tile through all stages: the residues from `offset` of the inputs' spans, which are
    /// ordered `[polynomial][input]`, to those of the outputs', ordered `[output][polynomial]`.
    /// `first` says that residue 0 is among them.
    fn run(&self, inputs: &[&[u64]], panels: &mut Panels, outputs: &mut [&mut [u64]], offset: usize, first: bool) {
        let (mut values, mut size) = (self.values, self.size);
        for (input, tile) in inputs.iter().zip(&mut panels.current) {
            kernel::load(self.backend, &self.prime, &input[offset..offset + TILE], tile);
        }
        let mut upcoming = Upcoming {
            spans: inputs.iter(),
            offset: offset + TILE,
            batch: inputs.len().div_ceil(self.blocks().max(1)),
        };
        for (i, stage) in self.stages.iter().enumerate() {
            let (next_values, next_size) = Self::shape_after(stage, values, size);
            let (current, next) = (&panels.current[..values * size], &mut panels.next[..next_values * next_size]);
            match stage {
                Stage::Affine { matrix, products, bias, squared } => {
                    let affine = AffineStage { pass: self, matrix, products, bias, first, size };
                    if *squared {
                        affine.squared(current, next, &mut upcoming)
                    } else if i + 1 == self.stages.len() {
                        return affine.stored(current, outputs, offset, &mut upcoming);
                    } else {
                        affine.plain(current, next, &mut upcoming)
                    }
                }
                Stage::Square => {
                    for value in 0..values {
                        kernel::square(
                            self.backend,
                            &self.prime,
                            size,
                            &current[value..],
                            values,
                            &mut next[value..],
                            values,
                        );
                    }
                }
            }
            mem::swap(&mut panels.current, &mut panels.next);
            (values, size) = (next_values, next_size);
        }
        for (i, output) in outputs.iter_mut().enumerate() {
            let (value, poly) = (i / size, i % size);
            kernel::store(
                self.backend,
                &self.prime,
                &panels.current[poly * values + value],
                &mut output[offset..offset + TILE],
            );
        }
    }
}

/// The inputs' next tiles, which are fetched from memory while this one is computed, a few with
/// each block.
struct Upcoming<'a> {
    spans: std::slice::Iter<'a, &'a [u64]>,
    offset: usize,
    batch: usize,
}

impl Upcoming<'_> {
    fn prefetch(&mut self) {
        for span in self.spans.by_ref().take(self.batch) {
            kernel::prefetch(span, self.offset);
        }
    }
}

/// The places of a block's sums in a buffer of their own.
const OWN_PLACES: [u32; BLOCK_ROWS] = [0, 1, 2, 3, 4];

/// An affine stage on one tile.
struct AffineStage<'a> {
    pass: &'a Pass<'a>,
    matrix: &'a ScalarMatrix,
    products: &'a [Products],
    bias: &'a [i64],
    /// whether the tile holds residue 0, which is where a constant stands in coefficient form
    first: bool,
    size: usize,
}

impl AffineStage<'_> {
    /// Sums, to their places in `next`.
    fn plain(&self, current: &[Tile], next: &mut [Tile], upcoming: &mut Upcoming<'_>) {
        let rows = self.matrix.rows();
        for (block, products) in self.matrix.blocks().zip(self.products) {
            upcoming.prefetch();
            for poly in 0..self.size {
                self.sums(block, products, poly, current, &mut next[poly * rows..(poly + 1) * rows], block.rows);
            }
        }
    }

    /// Sums, to the outputs: the memory is busy with one block while the next is computed.
    fn stored(&self, current: &[Tile], outputs: &mut [&mut [u64]], offset: usize, upcoming: &mut Upcoming<'_>) {
        let Pass { backend, prime, .. } = self.pass;
        let mut sums = [Tile::ZERO; BLOCK_ROWS];
        for (block, products) in self.matrix.blocks().zip(self.products) {
            upcoming.prefetch();
            for poly in 0..self.size {
                self.sums(block, products, poly, current, &mut sums, &OWN_PLACES[..block.rows.len()]);
                for (sum, &row) in sums.iter().zip(block.rows) {
                    let output = &mut outputs[row as usize * self.size + poly];
                    kernel::store(*backend, prime, sum, &mut output[offset..offset + TILE]);
                }
            }
        }
    }

    /// Squares of sums, to their places in `next`: the sums of a block stay in the L1 cache.
    fn squared(&self, current: &[Tile], next: &mut [Tile], upcoming: &mut Upcoming<'_>) {
        let rows = self.matrix.rows();
        let mut sums = vec![Tile::ZERO; self.size * BLOCK_ROWS];
        for (block, products) in self.matrix.blocks().zip(self.products) {
            upcoming.prefetch();
            for (poly, sums) in sums.chunks_exact_mut(BLOCK_ROWS).enumerate() {
                self.sums(block, products, poly, current, sums, &OWN_PLACES[..block.rows.len()]);
            }
            for (o, &row) in block.rows.iter().enumerate() {
                kernel::square(
                    self.pass.backend,
                    &self.pass.prime,
                    self.size,
                    &sums[o..],
                    BLOCK_ROWS,
                    &mut next[row as usize..],
                    rows,
                );
            }
        }
    }

    /// The sums of a block for one polynomial, to `out[at[..]]`.
    fn sums(&self, block: Block<'_>, products: &Products, poly: usize, current: &[Tile], out: &mut [Tile], at: &[u32]) {
        let Pass { backend, prime, form, .. } = self.pass;
        let columns = self.matrix.columns();
        let panel = &current[poly * columns..(poly + 1) * columns];
        let mut bias = [0; BLOCK_ROWS];
        if poly == 0 {
            bias.iter_mut().zip(block.rows).for_each(|(bias, &row)| *bias = self.bias[row as usize]);
        }
        let everywhere = if *form == Form::Ntt { bias } else { [0; BLOCK_ROWS] };
        kernel::affine(*backend, prime, block, products, panel, &everywhere[..at.len()], out, at);
        if *form == Form::Coefficient && self.first {
            for (&at, bias) in at.iter().zip(bias) {
                let constant = &mut out[at as usize].0[0];
                *constant = prime.reduce((*constant + bias).into());
            }
        }
    }
}
